"""Records of creations in progress, which let the next update adopt the objects of a provider that was killed.

If a provider dies during a creation, the engine assumes that the creation did not happen. The provider therefore writes
a record before it sends the request and deletes it with the response. The next creation of the same resource finds the
record and adopts the existing object. The engine keeps its own records for the case that the engine itself is killed
(`inferstack.engine.recovery`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path


class InFlight:
    """Records in a ``PULUMI_HOME``. Without one, as for a provider that is started manually, nothing is recorded."""

    def __init__(self, home: str | None) -> None:
        self._folder = Path(home) / "in-flight" if home else None

    @classmethod
    def of_engine(cls) -> InFlight:
        """Return the records of the engine that started this process."""
        return cls(os.environ.get("PULUMI_HOME"))

    def _file(self, urn: str) -> Path | None:
        return self._folder / hashlib.sha256(urn.encode()).hexdigest() if self._folder else None

    def begin(self, urn: str) -> None:
        """Record that the creation of a resource begins."""
        file = self._file(urn)
        if file is None:
            return
        try:
            file.write_text(urn)
        except FileNotFoundError:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(urn)

    def interrupted(self, urn: str) -> bool:
        """Return whether an earlier creation of a resource received no response."""
        file = self._file(urn)
        return file is not None and file.exists()

    def end(self, urn: str) -> None:
        """Delete the record: the state of the resource is known."""
        file = self._file(urn)
        if file is not None:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
