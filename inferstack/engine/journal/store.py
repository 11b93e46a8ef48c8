"""The checkpoints, journals and locks of a file backend."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from inferstack.apimachinery.rfc3339 import format_micro_time
from inferstack.engine.journal.replay import Json, Replayer

ORGANIZATION = "organization"
"""The only organization of a file backend."""


@dataclass(frozen=True)
class StackFile:
    """One stack of a file backend.

    Args:
        backend: the backend's ``.pulumi`` folder.
        project: the project's name.
        stack: the stack's name.
    """

    backend: Path
    project: str
    stack: str

    @property
    def checkpoint(self) -> Path:
        """The file with the stack's state."""
        return self.backend / "stacks" / self.project / f"{self.stack}.json"

    @property
    def journal(self) -> Path:
        """The file with the journal of the running update."""
        return self.backend / "journals" / self.project / f"{self.stack}.jsonl"

    @property
    def locks(self) -> Path:
        """The folder of the stack's locks."""
        return self.backend / "locks" / ORGANIZATION / self.project / self.stack

    def read(self) -> Json | None:
        """Return ``{"version", "features", "deployment"}``, or None if the stack does not exist."""
        try:
            content = json.loads(self.checkpoint.read_bytes())
        except FileNotFoundError:
            return None
        deployment = content.get("checkpoint", {}).get("latest")
        return {
            "version": content.get("version", 3),
            "features": content.get("features") or [],
            "deployment": deployment,
        }

    def write(self, state: Json) -> None:
        """Replace the checkpoint; the engine's ``.bak`` beside it is never older.

        Args:
            state: as `read` returns it.
        """
        content: Json = {"version": state["version"]}
        if state["features"]:
            content["features"] = state["features"]
        content["checkpoint"] = {
            "stack": f"{ORGANIZATION}/{self.project}/{self.stack}",
            "latest": state["deployment"],
        }
        text = json.dumps(content, separators=(",", ":"))
        for target in (self.checkpoint.with_name(self.checkpoint.name + ".bak"), self.checkpoint):
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)


class Journal:
    """The journal of one running update: entries are written before `append` returns."""

    def __init__(self, stack: StackFile) -> None:
        self.stack = stack
        stack.journal.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = stack.journal.open("wb", buffering=0)
        self._file.write(json.dumps({"base": _digest(stack.checkpoint)}).encode() + b"\n")

    def append(self, entries: bytes) -> None:
        """Append a batch: the JSON of a list of entries, as the engine sends it."""
        self._file.write(entries.replace(b"\n", b" ") + b"\n")

    def close(self) -> None:
        """Apply the journal to the checkpoint and remove it."""
        self._file.close()
        apply_journal(self.stack)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def apply_journal(stack: StackFile) -> bool:
    """Apply a stack's journal to its checkpoint and remove it; return whether there was one.

    A journal whose base is no longer the checkpoint has been applied before and is only removed.
    """
    try:
        lines = stack.journal.read_bytes().split(b"\n")
    except FileNotFoundError:
        return False
    with suppress(ValueError):
        if json.loads(lines[0])["base"] == _digest(stack.checkpoint) != "":
            state = stack.read() or {}
            replayer = Replayer(state.get("deployment") or {})
            for batch in _complete_batches(lines[1:]):
                for entry in batch:
                    replayer.add(entry)
            stack.write(replayer.deployment(datetime.datetime.now(datetime.UTC)))
    stack.journal.unlink()
    return True


def _complete_batches(lines: list[bytes]) -> Iterator[list[dict[str, Any]]]:
    """Yield batches, up to a truncated one, which was never acknowledged."""
    for line in lines:
        if not line:
            continue
        try:
            yield json.loads(line)
        except ValueError:
            return


def journals(backend: Path) -> list[StackFile]:
    """Return the stacks of a backend that have a journal."""
    return [
        StackFile(backend, path.parent.name, path.stem) for path in sorted((backend / "journals").glob("*/*.jsonl"))
    ]


class Lock:
    """A lock on a stack in the file backend's format, owned by the engine's process."""

    def __init__(self, stack: StackFile, pid: int) -> None:
        self._path = stack.locks / f"{uuid.uuid4()}.json"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        owner = {
            "pid": pid,
            "username": os.environ.get("USER", ""),
            "hostname": socket.gethostname(),
            "timestamp": format_micro_time(datetime.datetime.now(datetime.UTC)),
        }
        self._path.write_text(json.dumps(owner))

    def release(self) -> None:
        """Remove the lock."""
        self._path.unlink(missing_ok=True)
