"""`inferstack mig` as a user sees it."""

from __future__ import annotations

import json
import sys

import pytest
import yaml
from typer.testing import CliRunner

from inferstack.cli import app, main
from inferstack.mig import catalogue

runner = CliRunner()
ROWS = [(gpu, profile) for gpu in catalogue.load().gpus.values() for profile in gpu.profiles.values()]


def test_all_rows_of_all_gpus_are_in_the_json() -> None:
    done = runner.invoke(app, ["mig", "table", "-o", "json"])
    assert done.exit_code == 0
    shown = json.loads(done.stdout)
    assert [(row["gpu"], row["profile"], row["id"]) for row in shown] == [(g.name, p.name, p.gi_id) for g, p in ROWS]
    for row, (gpu, profile) in zip(shown, ROWS, strict=True):
        assert row["starts"] == list(profile.starts)
        assert (row["max"], row["memoryMib"], row["gpuMemorySlices"]) == (
            profile.max_count,
            profile.memory_mib,
            gpu.memory_slices,
        )
        assert row["source"] == catalogue.load().sources[profile.source]
        assert row["confirmed"] is not bool(row["unseen"])


def test_one_gpu_as_a_table() -> None:
    done = runner.invoke(app, ["mig", "table", "RTX-PRO-6000"])
    assert done.exit_code == 0
    heads, *lines = [line.split() for line in done.stdout.splitlines()]
    assert heads == ["GPU", "PROFILE", "ID", "COMPUTE", "MEMORY", "MIB", "MAX", "STARTS", "CONFIRMED"]
    assert lines[3] == ["RTX-PRO-6000", "1g.24gb+me.all", "65", "1/4", "3/12", "24192", "1", "0,3,6,9", "yes"]
    assert len(lines) == 11
    assert done.stderr == ""


def test_rows_that_no_source_shows_in_full_are_marked_and_counted() -> None:
    done = runner.invoke(app, ["mig", "table", "B300"])
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == ["no"] * 7
    assert "7 of 7 rows are not confirmed" in done.stderr
    table = yaml.safe_load(runner.invoke(app, ["mig", "table", "B300", "-o", "yaml"]).stdout)
    assert "memory_mib" in table[0]["unseen"]


def test_an_unknown_gpu_ends_with_1_and_the_ones_that_were_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["inferstack", "mig", "table", "h100"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    message = " ".join(capsys.readouterr().err.split())
    assert message.startswith("error: unknown GPU 'h100': known are H100-80GB-HBM3, H100-NVL, H100-96GB;")
    assert "`inferstack mig table`" in message


def test_without_a_command_the_help_is_shown_and_a_second_gpu_is_a_mistake() -> None:
    assert "table" in runner.invoke(app, ["mig"]).output
    assert "GPU model" in runner.invoke(app, ["mig", "table", "--help"]).output
    assert runner.invoke(app, ["mig", "table", "H200", "B200"]).exit_code == 2
