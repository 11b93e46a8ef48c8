"""Command line of the installer: installs, reconciles periodically, and uninstalls on SIGTERM."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from .installer import Config, Installer, InstallError


def main(arguments: list[str]) -> int:
    """Run until SIGTERM; with ``--once`` install and exit, with ``--remove`` uninstall and exit."""
    parser = argparse.ArgumentParser(prog="agent", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--ready", type=Path, help="file that exists while the runtime is usable")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--remove", action="store_true")
    given = parser.parse_args(arguments)
    config = Config(**json.loads(given.config.read_text()))
    installer = Installer(config)
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if given.remove:
        return _told(installer.remove)
    while True:
        failed = _told(installer.install)
        if given.ready and failed:
            given.ready.unlink(missing_ok=True)
        elif given.ready:
            given.ready.touch()
        if given.once:
            return failed
        if ended.wait(config.period):
            return _told(installer.remove)


def _told(step: Callable[[], list[str]]) -> int:
    """Run a step and log its changes; return 1 if it failed."""
    try:
        lines = step()
    except InstallError as error:
        sys.stderr.write(f"failed: {error}\n")
        sys.stderr.flush()
        return 1
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
