"""``python -m inferstack.operator``: the command that Deployments made by version 0.1.0 run."""

from inferstack.controllers.__main__ import main

if __name__ == "__main__":
    main()
