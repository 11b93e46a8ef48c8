"""``inferstack load`` without a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from inferstack.cli import app
from inferstack.errors import UserError
from rehearsal.load import control

GOOD = "jobs: [{job: nlp/chat, arrivals: {type: constant, rate: 1}}]"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFERSTACK_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["load", *arguments])


def test_check_validates_scenario_and_traces(tmp_path: Path, state: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    assert call("check", str(path)).exit_code == 0
    (tmp_path / "t.csv").write_text("when,what\n1,2\n")
    path.write_text("jobs: [{job: nlp/chat, arrivals: {type: trace, file: t.csv}}]")
    error = call("check", str(path)).exception
    assert isinstance(error, UserError)
    assert "no column for at: expected one of timestamp, got when, what" in str(error)


def test_run_without_simulator_writes_nothing(tmp_path: Path, state: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    for error in (call("run", str(path)).exception, call("status").exception):
        assert isinstance(error, UserError)
        assert "`inferstack rehearsal start --metrics` starts it" in str(error)
    assert control.read(state) is None
    stopped = call("stop")
    assert stopped.exit_code == 0


def test_schema_has_camel_case_keys() -> None:
    printed = json.loads(call("schema").stdout)
    assert set(printed["$defs"]["FlashCrowd"]["required"]) == {"type", "base", "peak", "atSeconds"}
    assert "coldStartSeconds" in printed["$defs"]["ServerModel"]["properties"]
