"""Command line of the agent: a single pass, or passes until SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

from .keeper import Keeper
from .knobs import ConfigError, Finding, load

_ORDER = ("refused", "left", "set", "restored", "differs", "held", "absent", "gone", "ok", "advice")


def report(mode: str, findings: list[Finding]) -> str:
    """Return one line per finding, problems first; files of a setting with equal findings share a line."""
    files: dict[tuple[str, str, str], list[str]] = {}
    for finding in findings:
        files.setdefault((finding.status, finding.key, finding.text), []).append(finding.path)
    rows = sorted(files, key=lambda row: (_ORDER.index(row[0]), row[1]))
    lines = [
        f"{status:<9} {key}: {text}" + (f" ({len(paths)} files)" if (paths := files[status, key, text])[1:] else "")
        for status, key, text in rows
    ]
    number = Counter(status for status, _, _ in rows)
    summary = ", ".join(f"{number[status]} {status}" for status in _ORDER if number[status])
    return "\n".join([f"{mode}: {summary or 'nothing to do'}", *lines])


def main(arguments: list[str]) -> int:
    """Run until SIGTERM, then restore the settings; with ``--once`` run one pass, with ``--look`` only report."""
    parser = argparse.ArgumentParser(prog="agent", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True, help="folder on the host for the saved values")
    parser.add_argument("--root", type=Path, default=Path("/"))
    parser.add_argument("--ready", type=Path, help="file that is made after the first pass")
    parser.add_argument("--once", action="store_true", help="one pass, nothing is put back")
    parser.add_argument("--look", action="store_true", help="say what differs now, whatever the mode")
    given = parser.parse_args(arguments)
    try:
        config = load(given.config)
    except ConfigError as error:
        sys.stderr.write(f"refused: {error}\n")
        return 2
    keeper = Keeper(config, given.root, given.state)
    if given.look:
        sys.stdout.write(report("look", list(keeper.look())) + "\n")
        return 0

    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    reported: list[Finding] | None = None
    while True:
        findings = keeper.run()
        if reported is None or _news(findings) != _news(reported, settled=True):
            sys.stdout.write(report(config.mode, findings) + "\n")
            sys.stdout.flush()
        reported = findings
        if given.ready:
            given.ready.touch()
        if given.once:
            return 3 if any(finding.status == "refused" for finding in findings) else 0
        if ended.wait(config.period):
            break
    if config.mode == "apply":
        sys.stdout.write(report("rollback", keeper.restore()) + "\n")
    return 0


def _news(findings: list[Finding], *, settled: bool = False) -> list[tuple[str, str, str]]:
    """Return the findings worth a log line; ``settled`` treats values that an earlier pass set as unchanged."""
    same = ("ok", "set") if settled else ("ok",)
    return [
        ("ok", finding.key, finding.path) if finding.status in same else (finding.status, finding.key, finding.text)
        for finding in findings
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
