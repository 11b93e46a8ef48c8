"""``python -m inferstack.operator``: credentials from ``$KUBECONFIG`` or the pod's service account."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys

from inferstack.errors import UserError
from inferstack.kube import KubeClient, KubeconfigError
from inferstack.operator.app import serve
from inferstack.operator.watching import NotWatchingError


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    options = _options()
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if options.log_format == "json" else plain)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.INFO, handlers=[handler])
    # kopf tells of each handler's success, which for us is each event.
    logging.getLogger("kopf").setLevel(logging.DEBUG if options.verbose else logging.WARNING)
    try:
        asyncio.run(_serve(options))
    except (UserError, KubeconfigError, NotWatchingError) as error:
        sys.exit(f"error: {error}")


async def _serve(options: argparse.Namespace) -> None:
    async with await KubeClient.connect(pool=32) as kube:
        await serve(
            kube,
            namespace=options.namespace,
            health_port=options.health_port or None,
            usage_seconds=options.usage_seconds or None,
        )


def _options() -> argparse.Namespace:
    port = os.environ.get("INFERSTACK_HEALTH_PORT")
    if port is not None and not port.isdecimal():
        sys.exit(f"error: INFERSTACK_HEALTH_PORT is {port!r}; give a port number")
    seconds = os.environ.get("INFERSTACK_USAGE_SECONDS", "60")
    if not seconds.isdecimal():
        sys.exit(f"error: INFERSTACK_USAGE_SECONDS is {seconds!r}; give a whole number of seconds, 0 for never")
    parser = argparse.ArgumentParser(prog="python -m inferstack.operator", description="Serve InferenceJobs.")
    parser.add_argument("--namespace", help="serve this namespace only (default: all)")
    parser.add_argument(
        "--health-port",
        type=int,
        default=int(port) if port else 0,
        help="port of GET /healthz and GET /metrics (default: $INFERSTACK_HEALTH_PORT, else 0: none)",
    )
    parser.add_argument(
        "--usage-seconds",
        type=int,
        default=int(seconds),
        help="seconds between two looks at the use of GPUs, for GET /metrics (default: $INFERSTACK_USAGE_SECONDS, else "
        "60; 0: never)",
    )
    parser.add_argument(
        "--log-format", choices=("plain", "json"), default=os.environ.get("INFERSTACK_LOG_FORMAT", "plain")
    )
    parser.add_argument("--verbose", action="store_true", help="log each step")
    options = parser.parse_args()
    if options.usage_seconds < 0:
        parser.error(f"--usage-seconds: is {options.usage_seconds}; 0 for never, or seconds")
    return options


if __name__ == "__main__":
    main()
