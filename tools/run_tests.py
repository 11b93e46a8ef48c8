"""Run pytest several times, one run after the other, and end with the sum of all runs.

    python tools/run_tests.py "RUN" ["RUN" ...]        each RUN is one quoted list of pytest arguments

A run that fails does not keep the next one from starting. The last line is ``N passed, N failed, N skipped`` over all
runs. Errors and runs that ended without a complete report count as failed. Exits with status 1 if anything failed.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET  # the usual alias; pytest itself wrote the file
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

DURATIONS = 25
_FAILURES = 1
"""pytest's exit status when tests ran and some of them failed."""


@dataclass
class Totals:
    """Numbers of test cases by outcome, and the names of those that failed."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0

    @classmethod
    def from_report(cls, report: Path) -> Self:
        """Count the test cases of a JUnit report.

        Raises:
            OSError, ET.ParseError: the report is missing or incomplete.
        """
        totals = cls()
        for case in ET.parse(report).iter("testcase"):  # noqa: S314  # pytest itself wrote it
            if case.find("failure") is not None or case.find("error") is not None:
                totals.failed.append(".".join(filter(None, (case.get("classname"), case.get("name")))))
            elif case.find("skipped") is not None:
                totals.skipped += 1
            else:
                totals.passed += 1
        return totals

    def add(self, other: Totals) -> None:
        """Add the numbers of another run."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self) -> str:
        return f"{self.passed} passed, {len(self.failed)} failed, {self.skipped} skipped"


def run(arguments: list[str], report: Path) -> Totals:
    """Run pytest once and return its totals."""
    command = [sys.executable, "-m", "pytest", f"--durations={DURATIONS}", f"--junitxml={report}", *arguments]
    with subprocess.Popen(command) as pytest:
        while True:
            try:
                status = pytest.wait()
                break
            except KeyboardInterrupt:  # pytest got the signal too: it tears its fixtures down and reports
                continue
    name = f"pytest {shlex.join(arguments)}"
    try:
        totals = Totals.from_report(report)
    except (OSError, ET.ParseError) as error:
        return Totals(failed=[f"{name}: exited with status {status} and left no complete report ({error})"])
    if status not in (0, _FAILURES) or (status == _FAILURES and not totals.failed):
        totals.failed.append(f"{name}: exited with status {status}")
    return totals


def main(runs: list[str]) -> int:
    """Run all runs and return the exit status."""
    if not runs:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    total = Totals()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for number, arguments in enumerate(runs):
            began = time.monotonic()
            totals = run(shlex.split(arguments), Path(folder) / f"{number}.xml")
            total.add(totals)
            lines.append(f"pytest {arguments}: {totals} in {time.monotonic() - began:.0f} s")
    lines += [f"FAILED {name}" for name in total.failed]
    sys.stdout.write("\n".join(["", *lines, str(total)]) + "\n")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
