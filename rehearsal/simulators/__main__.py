"""``python -m rehearsal.simulators``: one process that simulates all nodes of a rehearsal."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from inferstack.k8s import KubeconfigError
from rehearsal.simulators.app import Options, run


def main() -> int:
    """Parse the command line, run the simulators and return the exit status."""
    parser = argparse.ArgumentParser(prog="rehearsal.simulators", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path, required=True, help="state folder, with logs/ and run/")
    parser.add_argument("--health-port", type=int, default=0, help="loopback port of /healthz (default: a free port)")
    parser.add_argument("--mig-seconds", type=float, default=1.0, help="duration of a MIG layout change (default: 1)")
    parser.add_argument(
        "--prometheus-port", type=int, help="port of the rehearsal's Prometheus, which the simulators configure"
    )
    parser.add_argument("--load-port", type=int, help="port of the load simulator, which Prometheus scrapes")
    parser.add_argument("--adapter-port", type=int, help="port of prometheus-adapter, registered with the API server")
    given = parser.parse_args()
    ports = (given.prometheus_port, given.load_port, given.adapter_port)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    try:
        state = given.state_dir.resolve()
        asyncio.run(run(Options(given.kubeconfig, state, given.health_port, given.mig_seconds, *ports)))
    except (KubeconfigError, OSError) as error:
        logging.getLogger("agent").error("%s", error)  # noqa: TRY400  # a traceback adds nothing
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
