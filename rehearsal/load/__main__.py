"""``python -m rehearsal.load``: one process that simulates the load of a rehearsal."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from inferstack.k8s import KubeconfigError
from rehearsal.load.app import Options, run


def main() -> int:
    """Parse the command line and run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="rehearsal.load", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path, required=True, help="load/run.json below it says what to play")
    parser.add_argument("--port", type=int, required=True, help="metrics and discovery, on loopback")
    given = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    try:
        asyncio.run(run(Options(given.kubeconfig, given.state_dir.resolve(), given.port)))
    except (KubeconfigError, OSError) as error:
        logging.getLogger("load").error("%s", error)  # noqa: TRY400  # the sentence says it all
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
