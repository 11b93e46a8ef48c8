"""Progress of an update from the engine's events: at most one line a second, and a summary."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

_TAGS = re.compile(r"<\{%.*?%\}>")
# Signs by engine step. A replacement consists of several steps; only one of them counts.
_COUNTED = {"create": "+", "update": "~", "replace": "±", "delete": "-", "same": "="}
_EVERY = 1.0


class Progress:
    """Counts Kubernetes objects while the engine's events come in.

    Args:
        report: receives each line.
        clock: seconds, monotonic.
    """

    def __init__(self, report: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._began = self._reported = clock()
        self._open: dict[str, str] = {}
        self.done: Counter[str] = Counter()
        """Objects by step."""
        self.errors: list[str] = []
        """Distinct errors of the engine, the program and the providers."""

    def take(self, event: dict[str, Any]) -> None:
        """Process one event of the engine's log."""
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
        if now - self._reported >= _EVERY and self.changed:
            self._reported = now
            waiting = ", ".join(short_name(urn) for urn in list(self._open)[:3])
            self._report(f"{self._counts()}" + (f"; under way: {waiting}" if waiting else ""))

    def _diagnose(self, event: dict[str, Any]) -> None:
        if event.get("severity") != "error":
            return
        text = plain(event.get("message", ""))
        # The engine repeats each failed resource in a closing line without new information.
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
        """Return the summary line; for a failed update it counts what was changed before the failure."""
        seconds = self._clock() - self._began
        total = sum(self.done.values())
        if failed:
            return f"{self._counts() if self.changed else 'nothing was changed'}, {seconds:.1f} s"
        if not self.changed:
            return f"no changes: {total} objects as they should be ({seconds:.1f} s)"
        return f"{total} objects: {self._counts()} in {seconds:.1f} s"


def short_name(urn: str) -> str:
    """Return kind and name from a URN, such as ``Deployment operator``; empty for the stack itself."""
    parts = urn.split("::")
    if len(parts) < 4:
        return urn
    kind = parts[2].split("$")[-1].split(":")[-1]
    return f"{kind} {parts[3]}" if kind != "Stack" else ""


def plain(text: str) -> str:
    """Return a message of the engine without its colour tags."""
    return _TAGS.sub("", text).strip()
