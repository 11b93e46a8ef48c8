"""Which creations are under way, on disk: a provider that is killed leaves its objects behind without a state.

The engine takes a creation whose provider died for one that never happened. A record of it, written before the request
and removed with the answer, lets the next creation of the same resource know the object that exists as its own. (The
engine keeps such records itself, for its own death: see `inferstack.engine.recovery`.)
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path


class InFlight:
    """The records of one ``PULUMI_HOME``; without one (a provider started by hand) there are none."""

    def __init__(self, home: str | None) -> None:
        self._folder = Path(home) / "in-flight" if home else None

    @classmethod
    def of_engine(cls) -> InFlight:
        """Return the records of the engine that started us."""
        return cls(os.environ.get("PULUMI_HOME"))

    def _file(self, urn: str) -> Path | None:
        return self._folder / hashlib.sha256(urn.encode()).hexdigest() if self._folder else None

    def begin(self, urn: str) -> None:
        """Note that a resource is about to be created."""
        file = self._file(urn)
        if file is None:
            return
        try:
            file.write_text(urn)
        except FileNotFoundError:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(urn)

    def interrupted(self, urn: str) -> bool:
        """Return whether an earlier creation of a resource got no answer."""
        file = self._file(urn)
        return file is not None and file.exists()

    def end(self, urn: str) -> None:
        """Note that the state of a resource is known again."""
        file = self._file(urn)
        if file is not None:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
