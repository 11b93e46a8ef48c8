"""What an update does, from the engine's events: a line now and then, and one line at the end."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

_TAGS = re.compile(r"<\{%.*?%\}>")
# The engine's steps, told as what happens to an object. A replacement is several steps; one of them counts.
_COUNTED = {"create": "+", "update": "~", "replace": "±", "delete": "-", "same": "="}
_EVERY = 1.0


class Progress:
    """Counts Kubernetes objects while the engine's events come in.

    Args:
        report: takes a line for a person.
        clock: seconds, monotonic.
    """

    def __init__(self, report: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._began = self._told = clock()
        self._open: dict[str, str] = {}
        self.done: Counter[str] = Counter()
        """Objects by step."""
        self.errors: list[str] = []
        """What the engine, the program or a provider called an error, once each."""

    def take(self, event: dict[str, Any]) -> None:
        """Take one event of the engine's log."""
        if "diagnosticEvent" in event:
            self._diagnose(event["diagnosticEvent"])
            return
        for key, ended in (("resourcePreEvent", False), ("resOutputsEvent", True), ("resOpFailedEvent", None)):
            if key in event:
                self._step(event[key]["metadata"], ended)

    def _step(self, metadata: dict[str, Any], ended: bool | None) -> None:
        step, urn = metadata["op"], metadata["urn"]
        if not str(metadata["type"]).startswith("kubernetes:"):
            return
        if ended is False:
            self._open[urn] = step
        else:
            self._open.pop(urn, None)
        if ended and step in _COUNTED:
            self.done[step] += 1
        now = self._clock()
        if now - self._told >= _EVERY and self.changed:
            self._told = now
            waiting = ", ".join(short_name(urn) for urn in list(self._open)[:3])
            self._report(f"{self._counts()}" + (f"; under way: {waiting}" if waiting else ""))

    def _diagnose(self, event: dict[str, Any]) -> None:
        if event.get("severity") != "error":
            return
        text = plain(event.get("message", ""))
        # The engine closes with a line of its own for each failed resource, which says nothing new.
        if not text or text == "update failed" or text.startswith("resource registration failed"):
            return
        name = short_name(event["urn"]) if event.get("urn") else ""
        line = text if not name or name in text else f"{name}: {text}"
        if line not in self.errors:
            self.errors.append(line)

    @property
    def changed(self) -> bool:
        """True once an object was created, updated, replaced or deleted."""
        return any(step != "same" for step in self.done)

    def _counts(self) -> str:
        return " ".join(f"{sign}{self.done[step]}" for step, sign in _COUNTED.items() if self.done[step])

    def summary(self, *, failed: bool = False) -> str:
        """Return the one line at the end; of an update that failed it says how far it came."""
        seconds = self._clock() - self._began
        total = sum(self.done.values())
        if failed:
            return f"{self._counts() if self.changed else 'nothing was changed'}, {seconds:.1f} s"
        if not self.changed:
            return f"no changes: {total} objects as they should be ({seconds:.1f} s)"
        return f"{total} objects: {self._counts()} in {seconds:.1f} s"


def short_name(urn: str) -> str:
    """Return kind and name from a URN, ``Deployment operator``; nothing for the stack itself."""
    parts = urn.split("::")
    if len(parts) < 4:
        return urn
    kind = parts[2].split("$")[-1].split(":")[-1]
    return f"{kind} {parts[3]}" if kind != "Stack" else ""


def plain(text: str) -> str:
    """Return what the engine says without its marks of colour."""
    return _TAGS.sub("", text).strip()
