"""The benchmark runs to its end on a small file, its figures agree with one another, and goals are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.scaling import __main__ as benchmark
from benchmarks.scaling import traces


def test_a_small_file_from_reading_to_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.csv"
    times = np.cumsum(np.random.default_rng(1).exponential(0.4, 12_000))
    path.write_text("".join(f"{when:.3f},100,80\n" for when in times))
    load = traces.read(path, 0.5)
    table = benchmark.rows(load, benchmark.measure(load, 1, quick=True), benchmark.make_service(load, 1))
    by = {row["policy"]: row for row in table}
    assert list(by) == ["HPA", "HPA at 95%", "KEDA", "static peak", "Inferstack", "oracle"]
    assert by["oracle"]["attainment"] >= 0.99
    assert by["HPA"]["gpuHoursToHpa"] == by["oracle"]["gpuHoursToOracle"] == 1
    for row in table:
        assert row["missed"] == round((1 - row["attainment"]) * len(load.trace.arrivals))
        assert row["gpuHoursToBound"] >= 1
    benchmark.show(table)
    assert "goal GPU-hours to HPA" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ours", "hpa", "met"), [(0, 0, "met"), (1, 0, "MISSED"), (50, 100, "met"), (51, 100, "MISSED")]
)
def test_half_of_no_misses_is_none(ours: int, hpa: int, met: str, capsys: pytest.CaptureFixture[str]) -> None:
    def row(policy: str, missed: int) -> dict[str, Any]:
        ratios = dict.fromkeys(benchmark.RATIOS, 1.0)
        fixed = {"trace": "x", "policy": policy, "attainment": 0.9, "gpuHours": 1.0}
        return {**fixed, **ratios, "missed": missed, "missesToHpa": missed / hpa if hpa else None}

    benchmark.show([row("HPA", hpa), row("Inferstack", ours)])
    assert f"misses to HPA <= 0.5: {met}" in capsys.readouterr().out
