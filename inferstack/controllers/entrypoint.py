"""What the processes of the controllers share: the form of their logs and their health port."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys


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
