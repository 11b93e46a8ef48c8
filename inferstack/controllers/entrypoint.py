"""What the processes of the controllers share: log format, common options, health port and signal handling."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

from inferstack.errors import UserError
from inferstack.k8s import CredentialError, health

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class JsonFormatter(logging.Formatter):
    """Formats each record as one line of JSON."""

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


def configure_logging(log_format: str, *, verbose: bool) -> None:
    """Log to stderr.

    Args:
        log_format: ``json`` for one JSON object a line, ``plain`` for text.
        verbose: whether to log debug messages.
    """
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else plain)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--health-port``, ``--log-format`` and ``--verbose``; exit if their environment variables are invalid."""
    port = os.environ.get("INFERSTACK_HEALTH_PORT")
    if port is not None and not port.isdecimal():
        sys.exit(f"error: INFERSTACK_HEALTH_PORT is {port!r}; set a port number")
    parser.add_argument(
        "--health-port",
        type=int,
        default=int(port) if port else 0,
        help="port of GET /healthz and GET /metrics, 0 for none (default: $INFERSTACK_HEALTH_PORT, or 0)",
    )
    parser.add_argument(
        "--log-format",
        choices=("plain", "json"),
        default=os.environ.get("INFERSTACK_LOG_FORMAT", "plain"),
        help="format of log lines (default: $INFERSTACK_LOG_FORMAT, or plain)",
    )
    parser.add_argument("--verbose", action="store_true", help="log debug messages")


async def run_until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work``, and cancel it on SIGTERM or SIGINT.

    Raises:
        UserError: the credentials are no longer accepted.
        Exception: ``work`` failed; the process ends rather than continue without one of its parts.
    """
    loop = asyncio.get_running_loop()
    working = loop.create_task(work)

    def end() -> None:
        if not working.cancelling():  # a second signal must not interrupt the clean-up
            working.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, end)
    try:
        await asyncio.wait([working])
    finally:
        end()
        await asyncio.wait([working])
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    if working.cancelled():
        return
    try:
        working.result()
    except ExceptionGroup as group:
        if (refused := group.subgroup(CredentialError)) is not None:
            raise UserError(str(_first_leaf(refused))) from group
        raise


def _first_leaf(error: BaseException) -> BaseException:
    return _first_leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def listen(port: int, problem: Callable[[], str | None], metrics: Callable[[], str]) -> web.AppRunner:
    """Serve ``GET /healthz`` and ``GET /metrics`` on all addresses: the kubelet and Prometheus are outside the pod.

    Raises:
        UserError: the port is in use or not permitted.
    """
    try:
        return await health.serve(None, port, problem, metrics)
    except OSError as error:
        raise UserError(f"health port {port}: {error.strerror}; set another INFERSTACK_HEALTH_PORT") from error
