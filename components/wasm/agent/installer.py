"""Installation and removal of the shim on the host and of the runtime in containerd's configuration."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .toml import TomlError, added, without


class InstallError(Exception):
    """The runtime cannot be installed; the node is unchanged."""


@dataclass(frozen=True)
class Config:
    """The configuration of the installer."""

    shim: str
    """Path of the binary in this pod."""
    sha256: str
    installed: str
    """Target path, the same in this pod and on the host."""
    containerd: str
    """Path of containerd's configuration, the same in this pod and on the host."""
    runtime: str
    restart: list[str]
    """Command that restarts containerd."""
    period: float
    """Seconds between two passes."""


def run(command: list[str]) -> str | None:
    """Run a command; return its output if it failed, else None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else f"{' '.join(command)}: {done.returncode}: {done.stderr.strip()[-500:]}"


class Installer:
    """The installation on a node."""

    def __init__(self, config: Config, restart: Callable[[list[str]], str | None] = run) -> None:
        self._config = config
        self._restart = restart
        self._file = Path(config.containerd)
        self._installed = Path(config.installed)

    def install(self) -> list[str]:
        """Install shim and runtime, and return the changes. Idempotent.

        Raises:
            InstallError: the installation failed; the node's configuration is unchanged.
        """
        messages = []
        try:
            before = self._file.read_text()
            after = added(before, self._config.runtime, self._config.installed)
        except (OSError, TomlError) as error:
            raise InstallError(f"{self._file}: {error}") from None
        if self._place_shim():
            messages.append(f"{self._installed}: installed, sha256 {self._config.sha256}")
        if after != before:
            self._write(after)
            if problem := self._restart(self._config.restart):
                # containerd runs with the old configuration.
                self._write(before)
                again = self._restart(self._config.restart)
                undone = f"; its old configuration is back{f', and still: {again}' if again else ''}"
                raise InstallError(f"containerd does not start with the runtime: {problem}{undone}")
            messages.append(f"{self._file}: runtime {self._config.runtime} added, containerd started anew")
        return messages

    def remove(self) -> list[str]:
        """Uninstall runtime and shim, and return the changes. Idempotent.

        Raises:
            InstallError: containerd did not restart; the runtime and the shim are removed nevertheless.
        """
        messages = []
        problem = None
        try:
            before = self._file.read_text()
        except OSError as error:
            raise InstallError(f"{self._file}: {error.strerror}") from None
        after = without(before)
        if after != before:
            self._write(after)
            problem = self._restart(self._config.restart)
            messages.append(f"{self._file}: runtime {self._config.runtime} taken out, containerd started anew")
        if self._installed.exists():
            self._installed.unlink()
            messages.append(f"{self._installed}: removed")
        if problem:
            raise InstallError(f"containerd does not start: {problem}")
        return messages

    def _place_shim(self) -> bool:
        expected = self._config.sha256
        if self._installed.exists() and _sha256(self._installed) == expected:
            return False
        source = Path(self._config.shim)
        try:
            actual = _sha256(source)
        except OSError as error:
            raise InstallError(f"{source}: {error.strerror}") from None
        if actual != expected:
            raise InstallError(f"{source}: its sha256 is {actual}, wanted is {expected}; it is not installed")
        _replace(self._installed, source.read_bytes(), 0o755)
        return True

    def _write(self, text: str) -> None:
        _replace(self._file, text.encode(), self._file.stat().st_mode & 0o777)


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file atomically, so that containerd never reads a partial one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.inferstack")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.chmod(mode)
    fresh.rename(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
