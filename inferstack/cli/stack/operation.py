"""What a command that changes a stack needs around it: the project's lock, signals, tools and the control plane."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from inferstack.cli import output
from inferstack.cli.stack.configuration import check_settings
from inferstack.cli.stack.control_plane import control_plane_of, is_local
from inferstack.cli.stack.session import Session
from inferstack.toolchain import binaries, crds


@contextlib.contextmanager
def locked(session: Session) -> Iterator[None]:
    """Hold the project's lock; SIGTERM counts as an interrupt, so that the engine ends the steps it has begun."""
    with interruptible(), project_lock(session.state, output.say):
        yield


@contextlib.contextmanager
def prepared(session: Session, config: Sequence[str] = ()) -> Iterator[None]:
    """Get everything that the engine needs, and keep the rehearsal up while the engine works.

    Args:
        session: of the stack.
        config: values of ``--config``.
    """
    _prepare(session, config)
    with control_plane_of(session.configuration(), session.state).keep_up(output.say):
        yield


def _prepare(session: Session, config: Sequence[str]) -> None:
    """Get the tools and the stack; on stack local also the CRDs and the control plane."""
    check_settings(config)
    control_plane = control_plane_of(session.configuration(), session.state)
    binaries.ensure(["pulumi", "kubectl", "helm", *control_plane.tools()], report=output.say)
    if is_local(session.configuration()):
        crds.ensure(crds.sources(), output.say)
    # The engine takes a second or two of one core to start; the control plane uses another one meanwhile.
    with ThreadPoolExecutor(2) as pool:
        starting = pool.submit(control_plane.start, output.say)
        session.engine.prepare()
        session.select()
        session.configure(config)
        starting.result()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Treat SIGTERM as an interrupt."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def project_lock(state: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the project's lock; a second command waits and reports the process that holds it."""
    state.mkdir(parents=True, exist_ok=True)
    path = state / "up.lock"
    with path.open("a+") as file:
        _lock(file, path, report)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock(file: IO[str], path: Path, report: Callable[[str], None]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report(f"waiting for another command on this project (process {path.read_text() or 'unknown'})")
        fcntl.flock(file, fcntl.LOCK_EX)
