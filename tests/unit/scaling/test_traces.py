"""The traces of the benchmark: generated from a seed, or read from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scaling import traces
from inferstack.errors import UserError


@pytest.fixture(autouse=True)
def short_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use two days of history, which saves millions of draws."""
    monkeypatch.setattr(traces, "HISTORY_DAYS", 2)


@pytest.mark.parametrize("name", ["diurnal", "bursts", "flash"])
def test_same_seed_yields_same_trace(name: str) -> None:
    first, second, other = (traces.make(name, seed, 1.0) for seed in (1, 1, 2))
    assert np.array_equal(first.trace.arrivals, second.trace.arrivals)
    assert len(first.trace.arrivals) != len(other.trace.arrivals)
    assert first.seconds == 3600
    assert len(first.past) == traces.HISTORY_DAYS * 1440
    assert 0 <= first.trace.arrivals[0] <= first.trace.arrivals[-1] < 3600
    assert first.minutes().sum() * 60 == pytest.approx(first.past.sum() * 60 + len(first.trace.arrivals))


def test_bursts_trace_is_bursty_and_diurnal_trace_is_not() -> None:
    assert traces.make("diurnal", 1, 1.0).past_burstiness == pytest.approx(1.0, abs=0.1)
    assert traces.make("bursts", 1, 1.0).past_burstiness == pytest.approx(2.0, abs=0.3)


def test_file_is_split_into_history_and_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    lines = [f"{1000 + index * 2},{100},{50}" for index in range(1800)]
    path.write_text("Timestamp,Request tokens,Response tokens\n" + "\n".join(reversed(lines)))
    load = traces.read(path, 24.0)
    assert load.past == pytest.approx(np.full(30, 0.5), abs=0.02)
    assert len(load.past_service_times) + len(load.trace.arrivals) == 1800
    assert load.trace.service_times[0] == pytest.approx(0.05 + 0.01 + 0.02 + 50 * 0.02)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1,2,3\n" * 10, "has 10 requests; at least 1,000"),
        ("1,2,3\n4,x,6\n", r"line 2: '4,x,6' is not 'timestamp"),
        ("1,2\n1,2\n", "line 2"),
        ("1,2,3\n-4,5,6\n", "line 2: negative"),
        ("1,2,3\n" * 2000, "spans 0 s; at least 20 minutes"),
    ],
)
def test_invalid_file_reports_path_and_line(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"trace\.csv.*{error}"):
        traces.read(path, 24.0)


def test_missing_file_reports_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        traces.read(tmp_path / "none.csv", 24.0)
