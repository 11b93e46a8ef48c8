"""Executables on PATH: which of them are good enough.

To ask an executable for its version costs tens of milliseconds, so the answer is kept together with the file's size
and time of change, and asked again only when one of them differs.
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
from inferstack.toolchain.binaries.catalogue import Group, OnPath, accepts

_ASK_TIMEOUT_S = 10


def find(group: Group, binary: str) -> tuple[Path, str] | None:
    """Return the path and the version of a binary on PATH, whatever its version is."""
    found = shutil.which(binary)
    if found is None:
        return None
    path = Path(found)
    version = _remembered(path)
    if version is None:
        version = _ask_and_remember(path, group.path, binary)
    return (path, version) if version else None


def good_enough(group: Group, binary: str) -> tuple[Path, str] | None:
    """Return the path and the version of a binary on PATH whose version is accepted."""
    found = find(group, binary)
    if found is None or not accepts(group.path.range_of(binary), found[1]):
        return None
    return found


def ask(path: Path, on_path: OnPath, binary: str) -> str | None:
    """Return the version that an executable tells, or None where it tells none."""
    done = _call(path, on_path, binary) if on_path.pattern is not None else None
    match = re.search(on_path.pattern or "", done.stdout) if done and done.returncode == 0 else None
    # One that tells something else than a version is as good as silent.
    return match[1] if match and re.match(r"v?\d", match[1]) else None


def runs(path: Path, on_path: OnPath, binary: str) -> bool:
    """Tell whether an executable comes to an end by itself when it is asked for its version, whatever it says."""
    done = _call(path, on_path, binary)
    return done is not None and done.returncode >= 0


def _call(path: Path, on_path: OnPath, binary: str) -> subprocess.CompletedProcess[str] | None:
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
    status = path.stat()  # of what a link leads to
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
    """Return what an executable told before: "" where it told no version, None where it was not asked yet."""
    entry = _memory().get(str(path))
    if isinstance(entry, dict) and entry.get("key") == _key(path):
        version = entry.get("version")
        return version if isinstance(version, str) else None
    return None


def _ask_and_remember(path: Path, on_path: OnPath, binary: str) -> str:
    version = ask(path, on_path, binary) or ""
    content = {**_memory(), str(path): {"key": _key(path), "version": version}}
    # The memory only saves time: where it cannot be written, nothing is lost.
    with contextlib.suppress(OSError):
        _memory_file().parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=_memory_file().parent, prefix=".checks-")
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
        Path(name).replace(_memory_file())
    return version
