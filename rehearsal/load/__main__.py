"""``python -m rehearsal.load``: the load simulator of a rehearsal."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from inferstack.k8s import KubeconfigError
from rehearsal.load.app import Options, run


def main() -> int:
    """Parse the command line and run; return the exit status."""
    parser = argparse.ArgumentParser(prog="rehearsal.load", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path, required=True, help="state folder with load/run.json, the scenario")
    parser.add_argument("--port", type=int, required=True, help="port for metrics and discovery on loopback")
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    try:
        asyncio.run(run(Options(options.kubeconfig, options.state_dir.resolve(), options.port)))
    except (KubeconfigError, OSError) as error:
        logging.getLogger("load").error("%s", error)  # noqa: TRY400  # a traceback adds nothing
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
