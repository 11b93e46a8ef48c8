"""``python -m inferstack.controllers.scaling``: credentials from ``$KUBECONFIG`` or the pod's service account."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import sys
from collections.abc import Callable

import aiohttp

from inferstack.api.replicas import LONGEST_VALIDITY
from inferstack.controllers.entrypoint import add_common_options, configure_logging, listen, run_until_signal
from inferstack.controllers.scaling.collector import LoopSettings
from inferstack.controllers.scaling.controller import Scaler
from inferstack.controllers.scaling.prometheus import Prometheus
from inferstack.errors import UserError
from inferstack.k8s import KubeClient, KubeconfigError

_URL = r"https?://[^\s@/]+(/[^\s]*)?"
_LOG = logging.getLogger("scaler")


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    options = _options()
    configure_logging(options.log_format, verbose=options.verbose)
    try:
        asyncio.run(_connect_and_serve(options))
    except (UserError, KubeconfigError) as error:
        sys.exit(f"error: {error}")


async def _connect_and_serve(options: argparse.Namespace) -> None:
    settings = LoopSettings(
        options.interval, options.window, options.validity, options.history_step, options.history_days * 86400
    )
    async with await KubeClient.connect(pool=32) as kube:
        await serve(
            kube,
            prometheus_url=options.prometheus_url,
            settings=settings,
            namespace=options.namespace,
            health_port=options.health_port or None,
        )


async def serve(
    kube: KubeClient, *, prometheus_url: str, settings: LoopSettings, namespace: str | None, health_port: int | None
) -> None:
    """Run the scaler until SIGTERM or SIGINT.

    Args:
        kube: connected client.
        prometheus_url: address of Prometheus.
        settings: periods of the loop.
        namespace: namespace to serve; None for all.
        health_port: port of ``GET /healthz`` and ``GET /metrics``; None for none.

    Raises:
        UserError: the health port is in use or not permitted, or the credentials are no longer accepted.
        Exception: an unexpected error in the scaler, which ends the process.
    """
    # One connection for each query of a round, and some for the history.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=16)) as http:
        scaler = Scaler(kube, Prometheus(prometheus_url, http), settings, namespace)
        server = (
            await listen(health_port, scaler.unhealthy_reason, scaler.metrics.render)
            if health_port is not None
            else None
        )
        _LOG.info("scaling %s by %s", f"namespace {namespace}" if namespace else "all namespaces", prometheus_url)
        try:
            await run_until_signal(scaler.run())
        finally:
            if server:
                await server.cleanup()
    _LOG.info("stopped")


def _options() -> argparse.Namespace:
    url = os.environ.get("INFERSTACK_PROMETHEUS_URL")
    parser = argparse.ArgumentParser(
        prog="python -m inferstack.controllers.scaling", description="Scale InferenceJobs ahead of their load."
    )
    parser.add_argument(
        "--prometheus-url", default=url, help="Address of Prometheus (default: $INFERSTACK_PROMETHEUS_URL)"
    )
    parser.add_argument("--namespace", help="Namespace of the jobs to scale (default: all)")
    parser.add_argument(
        "--interval", type=_seconds(1, 60), default=5.0, help="Seconds between two decisions (default: 5)"
    )
    parser.add_argument(
        "--window",
        type=_seconds(2, 600),
        default=30.0,
        help="Window of rates in seconds, at least 4 scrape intervals (default: 30)",
    )
    parser.add_argument(
        "--validity",
        type=_seconds(3, LONGEST_VALIDITY.total_seconds()),
        default=60.0,
        help="Seconds for which a decision is valid (default: 60)",
    )
    parser.add_argument(
        "--history-step", type=_seconds(1, 600), default=60.0, help="Step of the history in seconds (default: 60)"
    )
    parser.add_argument(
        "--history-days", type=_seconds(0.01, 60), default=14.0, help="Length of the history in days (default: 14)"
    )
    add_common_options(parser)
    options = parser.parse_args()
    if not options.prometheus_url or not re.fullmatch(_URL, options.prometheus_url):
        parser.error(
            f"--prometheus-url: {options.prometheus_url!r} is not an address of Prometheus such as http://host:port"
        )
    if options.validity < 3 * options.interval:
        parser.error(
            f"--validity: {options.validity:g} is less than three times --interval ({options.interval:g}); decisions "
            "would expire before they are renewed"
        )
    return options


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return parse


if __name__ == "__main__":
    main()
