"""A running rehearsal to look at from the outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inferstack.rehearsal.plane import Rehearsal


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A control plane of these tests' own."""
    made = Rehearsal(tmp_path_factory.mktemp("infra") / "state")
    made.start(lambda _: None)
    yield made
    made.stop(purge=True)
