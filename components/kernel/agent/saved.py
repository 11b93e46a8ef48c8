"""The original values of a node, stored on its disk so that they outlive the pod.

There is one file per boot, named after the boot id: a reboot restores the defaults of kernel and distribution, and
values of an earlier boot would overwrite later changes by the host.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

_BOOT = "proc/sys/kernel/random/boot_id"


@dataclass(frozen=True)
class Saved:
    """The original content of a kernel file."""

    key: str
    before: str
    set: str
    """The content that the agent wrote last."""


class Store:
    """The saved values of this boot."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._folder = folder
        self.path = folder / f"{(root / _BOOT).read_text().strip()}.json"

    def load(self) -> dict[str, Saved]:
        """Return the saved values by path; empty if nothing was changed."""
        try:
            content = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        return {path: Saved(**value) for path, value in content.items()}

    def store(self, values: dict[str, Saved]) -> None:
        """Replace the file atomically and sync it to disk; without values delete it."""
        if not values:
            self.path.unlink(missing_ok=True)
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        with fresh.open("w") as file:
            json.dump({path: asdict(value) for path, value in sorted(values.items())}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self.path)
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def forget_earlier_boots(self) -> list[str]:
        """Delete files of earlier boots and partial files of a killed agent; return their names."""
        files = [*self._folder.glob("*.json"), *self._folder.glob("*.new")] if self._folder.is_dir() else []
        old = sorted(file for file in files if file != self.path)
        for file in old:
            file.unlink()
        return [file.name for file in old]
