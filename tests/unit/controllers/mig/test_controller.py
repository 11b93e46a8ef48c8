"""Which rollout is carried out, where there are several."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.controllers.mig.controller import _order

EARLY, LATE = "2026-11-29T14:00:00Z", "2026-11-29T14:00:01Z"


def rollout(name: str, created: str, phase: str | None = None) -> dict[str, Any]:
    """Return a rollout."""
    obj: dict[str, Any] = {"metadata": {"name": name, "creationTimestamp": created}}
    return {**obj, "status": {"phase": phase}} if phase else obj


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (rollout("b", EARLY), rollout("a", LATE)),
        (rollout("a", EARLY), rollout("b", EARLY)),
        (rollout("b", EARLY, "Pending"), rollout("a", LATE)),
        # Made in the same second, so that the names would decide; one of them has begun.
        (rollout("b", EARLY, "Waiting"), rollout("a", EARLY)),
        (rollout("b", EARLY, "Paused"), rollout("a", EARLY, "Pending")),
        (rollout("b", LATE, "Running"), rollout("a", EARLY)),
    ],
)
def test_a_rollout_that_has_begun_stays_first(first: dict[str, Any], other: dict[str, Any]) -> None:
    assert sorted([other, first], key=_order) == [first, other]
