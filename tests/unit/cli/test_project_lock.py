"""One command at a time works on a project."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inferstack.cli.stack.operation import project_lock
from inferstack.project import project_root
from tests.unit.cli.waiting import until

HOLD = """
import sys
from pathlib import Path
from inferstack.cli.stack.operation import project_lock

with project_lock(Path(sys.argv[1]), print):
    print("in", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("killed", [False, True], ids=["ends", "is killed"])
def test_a_second_run_waits_for_the_first_and_says_for_whom(state: Path, killed: bool) -> None:
    messages: list[str] = []
    entered = threading.Event()

    def second() -> str:
        with project_lock(state, messages.append):
            entered.set()
            return (state / "up.lock").read_text()

    with (
        subprocess.Popen(
            [sys.executable, "-c", HOLD, state],
            cwd=project_root(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as first,
        ThreadPoolExecutor(1) as pool,
    ):
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stdout.readline() == "in\n"
        through = pool.submit(second)
        try:
            until(lambda: bool(messages), "the second never said that it waits")
            assert [line for line in messages if str(first.pid) in line] == messages
            assert not entered.is_set()
        finally:
            if killed:
                first.kill()
            else:
                first.stdin.close()
        assert through.result(timeout=20) == str(os.getpid())
        assert first.wait(timeout=20) == (-signal.SIGKILL if killed else 0)


def test_a_run_alone_says_nothing(state: Path) -> None:
    reports: list[str] = []
    for _ in range(2):
        with project_lock(state, reports.append):
            assert (state / "up.lock").read_text() == str(os.getpid())
    assert reports == []
