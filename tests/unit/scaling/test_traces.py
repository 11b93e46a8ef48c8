"""The benchmark's traces: seeded, as they say they are, and read from files with clear errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scaling import traces
from inferstack.errors import UserError


@pytest.fixture(autouse=True)
def short_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take two days of past: millions of draws less."""
    monkeypatch.setattr(traces, "HISTORY_DAYS", 2)


@pytest.mark.parametrize("name", ["diurnal", "bursts", "flash"])
def test_a_seed_makes_one_trace(name: str) -> None:
    one, two, other = (traces.make(name, seed, 1.0) for seed in (1, 1, 2))
    assert np.array_equal(one.trace.arrivals, two.trace.arrivals)
    assert len(one.trace.arrivals) != len(other.trace.arrivals)
    assert one.seconds == 3600
    assert len(one.past) == traces.HISTORY_DAYS * 1440
    assert 0 <= one.trace.arrivals[0] <= one.trace.arrivals[-1] < 3600
    assert one.minutes().sum() * 60 == pytest.approx(one.past.sum() * 60 + len(one.trace.arrivals))


def test_bursts_are_bursty_and_the_diurnal_one_is_not() -> None:
    assert traces.make("diurnal", 1, 1.0).past_burstiness == pytest.approx(1.0, abs=0.1)
    assert traces.make("bursts", 1, 1.0).past_burstiness == pytest.approx(2.0, abs=0.3)


def test_a_file_is_split_into_past_and_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    lines = [f"{1000 + index * 2},{100},{50}" for index in range(1800)]
    path.write_text("Timestamp,Request tokens,Response tokens\n" + "\n".join(reversed(lines)))
    load = traces.read(path, 24.0)
    assert load.past == pytest.approx(np.full(30, 0.5), abs=0.02)
    assert len(load.past_work) + len(load.trace.arrivals) == 1800
    assert load.trace.work[0] == pytest.approx(0.05 + 0.01 + 0.02 + 50 * 0.02)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3\n" * 10, "has 10 requests; 1,000 or more"),
        ("1,2,3\n4,x,6\n", r"line 2: '4,x,6' is not 'timestamp"),
        ("1,2\n1,2\n", "line 2"),
        ("1,2,3\n-4,5,6\n", "line 2: a negative"),
        ("1,2,3\n" * 2000, "spans 0 s; at least 20 minutes"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        traces.read(path, 24.0)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        traces.read(tmp_path / "none.csv", 24.0)
