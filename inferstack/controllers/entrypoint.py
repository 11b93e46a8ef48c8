"""What the processes of the controllers share: log format, common options, health port, and the end by a signal."""

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


def configure_logging(log_format: str, *, verbose: bool) -> None:
    """Write log lines to stderr.

    Args:
        log_format: ``json`` for one JSON object a line, else plain text.
        verbose: whether debug messages are written.
    """
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else plain)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--health-port``, ``--log-format`` and ``--verbose``; exit where their environment variables are wrong."""
    port = os.environ.get("INFERSTACK_HEALTH_PORT")
    if port is not None and not port.isdecimal():
        sys.exit(f"error: INFERSTACK_HEALTH_PORT is {port!r}; give a port number")
    parser.add_argument(
        "--health-port",
        type=int,
        default=int(port) if port else 0,
        help="port of GET /healthz and GET /metrics (default: $INFERSTACK_HEALTH_PORT, else 0: none)",
    )
    parser.add_argument(
        "--log-format", choices=("plain", "json"), default=os.environ.get("INFERSTACK_LOG_FORMAT", "plain")
    )
    parser.add_argument("--verbose", action="store_true", help="log each step")


async def run_until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work``, and cancel it on SIGTERM or SIGINT.

    Raises:
        UserError: the credentials are no longer accepted.
        Exception: ``work`` failed; the process ends rather than run on without one of its parts.
    """
    loop = asyncio.get_running_loop()
    working = loop.create_task(work)

    def end() -> None:
        if not working.cancelling():  # a second signal must not cut the clean-up short
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
        UserError: the port is taken or not allowed.
    """
    try:
        return await health.serve(None, port, problem, metrics)
    except OSError as error:
        raise UserError(f"health port {port}: {error.strerror}; set another INFERSTACK_HEALTH_PORT") from error
