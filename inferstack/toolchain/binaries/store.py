"""The tool cache: folder layout, locks and atomic moves.

::

    <cache>/tools/<binary>/<version>/<binary>    an executable; complete if it exists
    <cache>/tools/<binary>/<version>/.origin     "release" or "build"
    <cache>/tools/.work/<group>.lock             held by the process that gets a group; contains its process ID
    <cache>/tools/.work/<group>-XXXX/            its work folder; the next run removes that of a killed one
    <cache>/tools/.work/build.lock               shared by builds; the last one may drop the build cache
    <cache>/tools/.checks.json                   cached versions of executables on PATH
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
"""Seconds between progress lines."""

_POLL_S = 0.2


def tools_dir() -> Path:
    """Return the tool folder. It may not exist."""
    return cache_dir() / "tools"


def build_dir() -> Path:
    """Return the folder of Go's build cache. It may not exist."""
    return cache_dir() / "build"


def place_of(binary: str, version: str) -> Path:
    """Return the path of an executable in the cache, whether it exists or not."""
    return tools_dir() / binary / version / binary


def origin_of(binary: str, version: str) -> str:
    """Return the origin of a cached executable: ``release``, ``build`` or, if unknown, ``cache``."""
    mark = place_of(binary, version).with_name(".origin")
    return mark.read_text() if mark.is_file() else "cache"


def is_kept(binary: str, version: str) -> bool:
    """Return whether an executable is in the cache."""
    return os.access(place_of(binary, version), os.X_OK)


def install(group: Group, folder: Path, origin: str) -> None:
    """Move the executables of a folder into the cache, each atomically.

    A file that is not a binary of the group (a helper that must be next to one) is placed beside the group's first
    binary, and is moved first, so that the binary never exists without it.
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
    """Hold the lock of a group and yield an empty work folder, which is removed at the end.

    Waits while another process holds the lock, and reports its process ID. Removes what a killed process left behind.

    Args:
        name: name of the group.
        report: receives progress lines.
        root: folder of all groups (default: `tools_dir`).

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
    """Share Go's build cache during a build. The last build to succeed drops it."""
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
    """Record the child process of the holder of a group's lock, in case the holder is killed."""
    with (tools_dir() / ".work" / f"{group.name}.lock").open("r+b", buffering=0) as file:
        _write_holder(file.fileno(), pid)


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Convert an error of writing below a folder into a `UserError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"Cannot write below {folder} ({reason}): free space, or set INFERSTACK_CACHE to another folder."
        ) from error


def require_space(folder: Path, gib: float, purpose: str) -> None:
    """Check that a disk has enough free space.

    Raises:
        UserError: less than ``gib`` GiB are free on the disk of ``folder``.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if free < gib:
        raise UserError(
            f"Only {free:.1f} GiB are free on the disk of {existing}, {purpose} needs {gib:g} GiB: free space, or set "
            "INFERSTACK_CACHE to a folder on another disk."
        )


def _lock(descriptor: int, name: str, report: Callable[[str], None]) -> None:
    last_report: float | None = None
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            if last_report is None or now - last_report >= HEARTBEAT_S:
                last_report = now
                holder = _read_holder(descriptor).get("pid", "unknown")
                report(f"{name}: waiting for process {holder}, which is getting it")
            time.sleep(_POLL_S)
        else:
            return


def _clear_leftovers(descriptor: int, work: Path, name: str) -> None:
    """Kill the child of a killed holder and remove its work folder. The caller holds the lock."""
    holder = _read_holder(descriptor)
    if "child" in holder:
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            # A process with this ID that started at another time is an unrelated one.
            if abs(psutil.Process(holder["child"]).create_time() - holder["began"]) < 1:
                os.killpg(holder["child"], signal.SIGKILL)
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
