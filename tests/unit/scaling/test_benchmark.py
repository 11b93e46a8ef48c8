"""The scaling benchmark: a complete run on a small file, and its goals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.scaling import __main__ as benchmark
from benchmarks.scaling import traces


def test_small_file_yields_consistent_results_of_all_policies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.csv"
    times = np.cumsum(np.random.default_rng(1).exponential(0.4, 12_000))
    path.write_text("".join(f"{when:.3f},100,80\n" for when in times))
    load = traces.read(path, 0.5)
    table = benchmark.rows(load, benchmark.measure(load, 1, quick=True), benchmark.make_service(load, 1))
    by_policy = {row["policy"]: row for row in table}
    assert list(by_policy) == ["HPA", "HPA at 95%", "KEDA", "static peak", "Inferstack", "oracle"]
    assert by_policy["oracle"]["attainment"] >= 0.99
    assert by_policy["HPA"]["gpuHoursToHpa"] == by_policy["oracle"]["gpuHoursToOracle"] == 1
    for row in table:
        assert row["missed"] == round((1 - row["attainment"]) * len(load.trace.arrivals))
        assert row["gpuHoursToBound"] >= 1
    benchmark.show(table)
    assert "goal GPU-hours to HPA" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("misses", "hpa_misses", "result"), [(0, 0, "met"), (1, 0, "MISSED"), (50, 100, "met"), (51, 100, "MISSED")]
)
def test_miss_goal_is_half_of_the_misses_of_the_hpa(
    misses: int, hpa_misses: int, result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def row(policy: str, missed: int) -> dict[str, Any]:
        ratios = dict.fromkeys(benchmark.RATIOS, 1.0)
        fixed = {"trace": "x", "policy": policy, "attainment": 0.9, "gpuHours": 1.0}
        return {**fixed, **ratios, "missed": missed, "missesToHpa": missed / hpa_misses if hpa_misses else None}

    benchmark.show([row("HPA", hpa_misses), row("Inferstack", misses)])
    assert f"misses to HPA <= 0.5: {result}" in capsys.readouterr().out
