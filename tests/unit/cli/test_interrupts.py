"""Interrupts of a run, and what the engine gets of them."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from typing_extensions import Buffer

from inferstack.cli.stack.interrupts import Interrupts
from inferstack.cli.stack.session import Session
from inferstack.project import project_root
from tests.unit.cli.waiting import WAIT, until

MakeSession = Callable[[str], Session]

# A process of its own: a test must not be what is interrupted.
RUN = """
import signal, sys
from pathlib import Path
from inferstack.cli.stack.session import Session
from inferstack.engine.engine import Engine

def tell(*what):
    print(" ".join(map(str, what)) + "\\n", end="", flush=True)  # in one piece: two threads call this

signal.signal(signal.SIGINT, signal.default_int_handler)
session = Session("local", lambda text: tell("said", text))
session.engine = Engine(session.root, session.state, binary=Path(sys.argv[1]))
try:
    tell("ended", session.update("up", lambda event: tell("event", event["n"])).code)
except KeyboardInterrupt:
    tell("interrupted")
"""


class Run:
    """An update in a process of its own, that leads a process group as a terminal's job does."""

    def __init__(self, engine: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, engine],
            cwd=project_root(),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.strip())

    def next(self) -> str:
        """Return the next line that it tells."""
        return self._lines.get(timeout=30)

    def end(self) -> None:
        """Kill what is left."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start(make_session: MakeSession, tmp_path: Path) -> Iterator[Callable[[str], Run]]:
    """Start an update whose engine notes interrupts and then follows its instruction."""
    with contextlib.ExitStack() as stack:

        def start(body: str) -> Run:
            note = f'trap \'echo interrupt >> "{tmp_path}/interrupts"\' INT\necho \'{{"n": 1}}\' >> "$events"\n'
            note = f"echo $$ > '{tmp_path}/pid'\n{note}"
            run = Run(make_session(note + body).engine.binary)
            stack.callback(run.end)
            assert run.next() == "event 1"
            return run

        yield start


def _interrupts(folder: Path) -> int:
    file = folder / "interrupts"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "one process"])
def test_an_interrupt_lets_the_engine_end_what_it_has_begun(
    start: Callable[[str], Run], tmp_path: Path, whole_group: bool
) -> None:
    run = start(WAIT.format(file=tmp_path / "go") + 'echo \'{"n": 2}\' >> "$events"\n')

    # Two signals that come at once may count as one, so the number that came would not always tell.
    assert os.getpgid(int((tmp_path / "pid").read_text())) != run.process.pid, "a terminal would interrupt it as well"
    (os.killpg if whole_group else os.kill)(run.process.pid, signal.SIGINT)

    assert run.next().startswith("said interrupted: the engine ends what it has begun")
    until(lambda: _interrupts(tmp_path) > 0, "the engine was never interrupted")
    assert run.process.poll() is None, "the engine is still at work"
    (tmp_path / "go").touch()
    assert [run.next(), run.next()] == ["event 2", "interrupted"]
    assert _interrupts(tmp_path) == 1, "a second one would make the engine stop at once"


def test_the_third_interrupt_kills(start: Callable[[str], Run], tmp_path: Path) -> None:
    run = start(WAIT.format(file="/nowhere") * 3)
    run.process.send_signal(signal.SIGINT)
    until(lambda: _interrupts(tmp_path) == 1, "the first interrupt never came")
    run.process.send_signal(signal.SIGINT)
    until(lambda: _interrupts(tmp_path) == 2, "the second interrupt never came")

    run.process.send_signal(signal.SIGINT)

    assert run.next().startswith("said interrupted")
    assert run.next() == "interrupted", "the instruction is printed once"
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert _interrupts(tmp_path) == 2


class FakeProcess:
    """Notes the signals that it is sent."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def send_signal(self, number: int) -> None:
        """Note a signal."""
        self.signals.append(number)


@pytest.fixture
def handlers() -> Iterator[None]:
    """Python's own handlers, whatever the one who started these tests has chosen."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_the_engine_starts_is_passed_on_later(handlers: None, number: signal.Signals) -> None:
    reports: list[str] = []
    interrupts, process = Interrupts(reports.append), FakeProcess()

    with interrupts.taken():
        signal.raise_signal(number)
        assert reports == []
        interrupts.pass_to(process)  # type: ignore[arg-type]  # duck
        assert process.signals == [signal.SIGINT]
        until(lambda: len(reports) == 1, "the interrupt was never reported")
        signal.raise_signal(number)
        signal.raise_signal(number)

    assert process.signals == [signal.SIGINT, signal.SIGINT, signal.SIGKILL]
    assert (interrupts.count, len(reports)) == (3, 1)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


class InterruptedStream(io.RawIOBase):
    """A terminal to which each write is interrupted by a signal."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        first, self.content = not self.content, self.content + bytes(data)
        if first:
            signal.raise_signal(signal.SIGINT)
        return len(bytes(data))


def test_interrupt_in_the_midst_of_output_is_reported(handlers: None) -> None:
    raw = InterruptedStream()
    terminal = io.TextIOWrapper(io.BufferedWriter(raw), write_through=True)
    interrupts, process = Interrupts(lambda line: print(line, file=terminal, flush=True)), FakeProcess()

    with interrupts.taken():
        interrupts.pass_to(process)  # type: ignore[arg-type]  # duck
        print("a line of the update", file=terminal, flush=True)

    assert process.signals == [signal.SIGINT]
    assert [line.partition(":")[0] for line in raw.content.decode().splitlines()] == [
        "a line of the update",
        "interrupted",
    ]


def test_a_signal_that_is_ignored_stays_so(handlers: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts = Interrupts(pytest.fail)

    with interrupts.taken():
        signal.raise_signal(signal.SIGINT)

    assert interrupts.count == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
