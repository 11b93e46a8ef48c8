"""Allow ``python -m inferstack.cli``."""

from inferstack.cli import main

main()
