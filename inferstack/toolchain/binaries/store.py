"""The cache folder of the tools: layout, locks and moves that leave no half-written file.

::

    <cache>/tools/<binary>/<version>/<binary>    an executable, complete as soon as it is there
    <cache>/tools/<binary>/<version>/.origin     "release" or "build"
    <cache>/tools/.work/<group>.lock             held by the process that makes a group; tells who it is
    <cache>/tools/.work/<group>-XXXX/            what it works on; a killed run leaves it to the next one
    <cache>/tools/.work/build.lock               shared by those who build; alone, the build cache may go
    <cache>/tools/.checks.json                   what the executables on PATH said
    <cache>/build/                               Go's build cache
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from inferstack.errors import UserError
from inferstack.project import cache_dir
from inferstack.toolchain.binaries.catalogue import Group

HEARTBEAT_S = 15.0
"""Seconds between two lines about work that goes on."""

_POLL_S = 0.2


def tools_dir() -> Path:
    """Return the folder of the tools; it may not exist yet."""
    return cache_dir() / "tools"


def build_dir() -> Path:
    """Return the folder of Go's build cache; it may not exist yet."""
    return cache_dir() / "build"


def place_of(binary: str, version: str) -> Path:
    """Return where an executable is kept, whether it is there or not."""
    return tools_dir() / binary / version / binary


def origin_of(binary: str, version: str) -> str:
    """Return how a kept executable came there: ``release``, ``build`` or, of an unknown hand, ``cache``."""
    mark = place_of(binary, version).with_name(".origin")
    return mark.read_text() if mark.is_file() else "cache"


def is_kept(binary: str, version: str) -> bool:
    """Tell whether an executable is in the cache."""
    return os.access(place_of(binary, version), os.X_OK)


def install(group: Group, folder: Path, origin: str) -> None:
    """Move the executables in a folder to their places, each in one step.

    A file that is no binary of the group (a helper that must lie beside one) goes with the group's first binary, and
    goes first, so that a binary is never there without it.
    """
    helpers_first = sorted(folder.iterdir(), key=lambda path: path.name in group.binaries)
    with writable(tools_dir()):
        for path in helpers_first:
            owner = path.name if path.name in group.binaries else group.binaries[0]
            target = place_of(owner, group.version).with_name(path.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_name(".origin").write_text(origin)
            path.chmod(0o755)
            path.replace(target)


@contextlib.contextmanager
def working_on(name: str, report: Callable[[str], None], root: Path | None = None) -> Iterator[Path]:
    """Hold the lock of a group and give an empty folder for the work; it is removed at the end.

    Another process that holds the lock is waited for, and named. What a killed one left is cleared away first.

    Args:
        name: of the group.
        report: takes a line about the wait.
        root: folder of all groups; that of the tools where left out.

    Raises:
        UserError: the cache folder cannot be written.
    """
    work = (root or tools_dir()) / ".work"
    with writable(work):
        work.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(work / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, name, report)
        _clear_leftovers(descriptor, work, name)
        _write_holder(descriptor, None)
        with writable(work):
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=work))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def building(drop: Callable[[], None]) -> Iterator[None]:
    """Share Go's build cache for some work; the last one to succeed drops it."""
    work = tools_dir() / ".work"
    with writable(work):
        work.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(work / "build.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            drop()
    finally:
        os.close(descriptor)


def note_child(group: Group, pid: int) -> None:
    """Write down a process that works for the holder of a group's lock, for the case that the holder is killed."""
    with (tools_dir() / ".work" / f"{group.name}.lock").open("r+b", buffering=0) as file:
        _write_holder(file.fileno(), pid)


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Transition an error of writing below a folder into a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"Cannot write below {folder} ({reason}): make room, or name another folder with INFERSTACK_CACHE."
        ) from error


def require_space(folder: Path, gib: float, purpose: str) -> None:
    """Check that a disk has room.

    Raises:
        UserError: less than ``gib`` GiB are free on the disk of ``folder``.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    if free < gib:
        raise UserError(
            f"Only {free:.1f} GiB are free on the disk of {there}, {purpose} needs {gib:g} GiB: make room or set "
            "INFERSTACK_CACHE to a folder on another disk."
        )


def _lock(descriptor: int, name: str, report: Callable[[str], None]) -> None:
    said: float | None = None
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            if said is None or now - said >= HEARTBEAT_S:
                said = now
                holder = _read_holder(descriptor).get("pid", "unknown")
                report(f"{name}: waiting for process {holder}, which is getting it")
            time.sleep(_POLL_S)
        else:
            return


def _clear_leftovers(descriptor: int, work: Path, name: str) -> None:
    """End the child of a killed holder and remove its folder; the lock is ours."""
    left = _read_holder(descriptor)
    if "child" in left:
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            # A process of the same id that began at another time is a stranger.
            if abs(psutil.Process(left["child"]).create_time() - left["began"]) < 1:
                os.killpg(left["child"], signal.SIGKILL)
    for folder in work.glob(f"{name}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _write_holder(descriptor: int, child: int | None) -> None:
    holder: dict[str, float] = {"pid": os.getpid()}
    if child is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            holder |= {"child": child, "began": psutil.Process(child).create_time()}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _read_holder(descriptor: int) -> dict[str, int]:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:  # read in the middle of a write
        return {}
    return content if isinstance(content, dict) else {}
