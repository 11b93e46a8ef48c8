"""``python -m inferstack.operator.scaling``: the command that Deployments made by version 0.1.0 run."""

from inferstack.controllers.scaling.__main__ import main

if __name__ == "__main__":
    main()
