"""Executables on PATH, and whether their version is accepted.

Running an executable to print its version takes tens of milliseconds. The version is cached with the file's size,
modification time and inode, and read again only if one of them differs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from inferstack.toolchain.binaries import store
from inferstack.toolchain.binaries.catalogue import Group, PathPolicy, accepts

_ASK_TIMEOUT_S = 10


def find(group: Group, binary: str) -> tuple[Path, str] | None:
    """Return the path and version of a binary on PATH, accepted or not."""
    path_name = shutil.which(binary)
    if path_name is None:
        return None
    path = Path(path_name)
    version = _remembered(path)
    if version is None:
        version = _ask_and_remember(path, group.path, binary)
    return (path, version) if version else None


def good_enough(group: Group, binary: str) -> tuple[Path, str] | None:
    """Return the path and version of a binary on PATH if the version is accepted."""
    path_name = find(group, binary)
    if path_name is None or not accepts(group.path.range_of(binary), path_name[1]):
        return None
    return path_name


def ask(path: Path, on_path: PathPolicy, binary: str) -> str | None:
    """Return the version that an executable prints, or None."""
    completed = _call(path, on_path, binary) if on_path.pattern is not None else None
    match = re.search(on_path.pattern or "", completed.stdout) if completed and completed.returncode == 0 else None
    # Output that is not a version counts as none.
    return match[1] if match and re.match(r"v?\d", match[1]) else None


def runs(path: Path, on_path: PathPolicy, binary: str) -> bool:
    """Return whether an executable exits on its own when asked for its version, whatever it prints."""
    completed = _call(path, on_path, binary)
    return completed is not None and completed.returncode >= 0


def _call(path: Path, on_path: PathPolicy, binary: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            [str(path), *on_path.args_of(binary)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _key(path: Path) -> list[int]:
    status = path.stat()  # follows links
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _memory_file() -> Path:
    return store.tools_dir() / ".checks.json"


def _memory() -> dict[str, Any]:
    try:
        content = json.loads(_memory_file().read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remembered(path: Path) -> str | None:
    """Return the cached version of an executable: "" if it printed none, None if it is not cached."""
    entry = _memory().get(str(path))
    if isinstance(entry, dict) and entry.get("key") == _key(path):
        version = entry.get("version")
        return version if isinstance(version, str) else None
    return None


def _ask_and_remember(path: Path, on_path: PathPolicy, binary: str) -> str:
    version = ask(path, on_path, binary) or ""
    content = {**_memory(), str(path): {"key": _key(path), "version": version}}
    # The cache only saves time: failing to write it is harmless.
    with contextlib.suppress(OSError):
        _memory_file().parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=_memory_file().parent, prefix=".checks-")
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
        Path(name).replace(_memory_file())
    return version
