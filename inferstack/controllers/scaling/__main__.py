"""``python -m inferstack.controllers.scaling``: credentials from ``$KUBECONFIG`` or the pod's service account."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Callable

from inferstack.api.replicas import LONGEST_VALIDITY
from inferstack.controllers.entrypoint import add_common_options, configure_logging
from inferstack.controllers.scaling.app import serve
from inferstack.controllers.scaling.loop import Pace
from inferstack.errors import UserError
from inferstack.k8s import KubeClient, KubeconfigError

_URL = r"https?://[^\s@/]+(/[^\s]*)?"


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    options = _options()
    configure_logging(options.log_format, verbose=options.verbose)
    try:
        asyncio.run(_serve(options))
    except (UserError, KubeconfigError) as error:
        sys.exit(f"error: {error}")


async def _serve(options: argparse.Namespace) -> None:
    pace = Pace(options.interval, options.window, options.validity, options.history_step, options.history_days * 86400)
    async with await KubeClient.connect(pool=32) as kube:
        await serve(
            kube,
            prometheus_url=options.prometheus_url,
            pace=pace,
            namespace=options.namespace,
            health_port=options.health_port or None,
        )


def _options() -> argparse.Namespace:
    url = os.environ.get("INFERSTACK_PROMETHEUS_URL")
    parser = argparse.ArgumentParser(
        prog="python -m inferstack.controllers.scaling", description="Scale InferenceJobs ahead of their load."
    )
    parser.add_argument(
        "--prometheus-url", default=url, help="address of Prometheus (default: $INFERSTACK_PROMETHEUS_URL)"
    )
    parser.add_argument("--namespace", help="scale the jobs of this namespace only (default: all)")
    parser.add_argument("--interval", type=_seconds(1, 60), default=5.0, help="seconds between two decisions (5)")
    parser.add_argument(
        "--window",
        type=_seconds(2, 600),
        default=30.0,
        help="seconds over which rates are taken: 4 scrapes or more (30)",
    )
    parser.add_argument(
        "--validity",
        type=_seconds(3, LONGEST_VALIDITY.total_seconds()),
        default=60.0,
        help="seconds for which a decision holds (60)",
    )
    parser.add_argument("--history-step", type=_seconds(1, 600), default=60.0, help="seconds of a step (60)")
    parser.add_argument("--history-days", type=_seconds(0.01, 60), default=14.0, help="days of history (14)")
    add_common_options(parser)
    options = parser.parse_args()
    if not options.prometheus_url or not re.fullmatch(_URL, options.prometheus_url):
        parser.error(
            f"--prometheus-url is {options.prometheus_url!r}; give the address of Prometheus, http://host:port"
        )
    if options.validity < 3 * options.interval:
        parser.error(
            f"--validity is {options.validity:g}, less than three --interval of {options.interval:g}: a decision would "
            "end before it is confirmed"
        )
    return options


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:g} and {most:g}")
        return value

    return parse


if __name__ == "__main__":
    main()
