"""Requests come as often as the scenario says, and the same seed brings the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inferstack.errors import UserError
from rehearsal.load.arrivals import Arrivals, Request, rate_at, read_trace
from rehearsal.load.scenario import JobLoad


def load(**arrivals: Any) -> JobLoad:
    return JobLoad.model_validate({"job": "a/b", "arrivals": arrivals})


def between(job_load: JobLoad, *moments: float, seed: int = 1) -> list[int]:
    source = Arrivals(job_load, seed)
    return [len(source.until(moment)) for moment in moments]


@pytest.mark.parametrize(
    ("job_load", "moments", "expected"),
    [
        (load(type="constant", rate=50), (100, 200), (5000, 5000)),
        (
            load(type="step", before=10, after=100, atSeconds=100, untilSeconds=200),
            (100, 200, 300),
            (1000, 10_000, 1000),
        ),
        # The mean of the halves of a sine: the middle, less or more 2 / pi of the amplitude.
        (load(type="diurnal", low=0, high=100, periodSeconds=400), (100, 300, 400), (1817, 16_366, 1817)),
        (
            load(
                type="flashCrowd", base=10, peak=110, atSeconds=100, climbSeconds=10, holdSeconds=90, halfLifeSeconds=10
            ),
            (100, 200, 210),
            (1000, 10 * 100 + 100 * 95, 100 + 721),
        ),
    ],
)
def test_arrivals_match_rate(job_load: JobLoad, moments: tuple[float, ...], expected: tuple[int, ...]) -> None:
    for count, wanted in zip(between(job_load, *moments), expected, strict=True):
        assert abs(count - wanted) < 5 * wanted**0.5  # five standard deviations of a Poisson variable


def test_seed_determines_requests() -> None:
    job_load = load(type="constant", rate=5)
    assert Arrivals(job_load, 1).until(100) == Arrivals(job_load, 1).until(100)
    assert Arrivals(job_load, 1).until(100) != Arrivals(job_load, 2).until(100)
    # In one go or in many.
    source = Arrivals(job_load, 1)
    assert [request for moment in range(1, 101) for request in source.until(moment)] == Arrivals(job_load, 1).until(100)
    late = Arrivals(job_load, 1)
    late.skip(50)
    assert late.until(100) == [request for request in Arrivals(job_load, 1).until(100) if request.at >= 50]


def test_token_counts_have_configured_mean() -> None:
    job_load = JobLoad.model_validate(
        {
            "job": "a/b",
            "arrivals": {"type": "constant", "rate": 100},
            "prompt": {"mean": 300, "spread": 0.8},
            "output": {"mean": 7, "spread": 0},
        }
    )
    requests = Arrivals(job_load, 1).until(200)
    assert sum(request.prompt for request in requests) / len(requests) == pytest.approx(300, rel=0.03)
    assert {request.output for request in requests} == {7}


def test_zero_rate_has_no_arrivals() -> None:
    assert between(load(type="constant", rate=0), 1000) == [0]
    assert rate_at(load(type="flashCrowd", base=1, peak=9, atSeconds=50).arrivals, 49) == 1  # type: ignore[arg-type]


def test_trace_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "burst.csv"
    path.write_text("Timestamp,Model,Request tokens,Response tokens\n15,ChatGPT,10,20\n12,GPT-4,3,0\n20,ChatGPT,0,5\n")
    trace = read_trace(path, speed=2)
    assert trace == [Request(0, 3, 0), Request(1.5, 10, 20), Request(4, 1, 5)]
    source = Arrivals(load(type="trace", file=str(path)), 1, trace)
    assert [len(source.until(moment)) for moment in (1, 2, 5, 9)] == [1, 1, 1, 0]


def test_invalid_trace_raises(tmp_path: Path) -> None:
    path = tmp_path / "burst.csv"
    path.write_text("timestamp,tokens\n1,2\n")
    with pytest.raises(UserError, match=r"no column for prompt: expected one of inputtokens"):
        read_trace(path, 1)
    path.write_text("timestamp,input tokens,output tokens\n1,2,3\n2,many,3\n")
    with pytest.raises(UserError, match=r"line 3 is not a request"):
        read_trace(path, 1)
