"""`inferstack gpu preflight`: the table of what a stack asks for beside what fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from inferstack.cli import app
from inferstack.cli.stack import gpu as command
from inferstack.errors import UserError

runner = CliRunner()


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **config: Any) -> tuple[int, list[dict[str, str]], str]:
    """Run the command for a stack with this configuration; return exit code, rows and messages."""
    file = tmp_path / "Pulumi.mine.yaml"
    file.write_text(yaml.safe_dump({"config": {f"inferstack:{key}": value for key, value in config.items()}}))
    monkeypatch.setattr(command, "stack_file", lambda _: file)
    done = runner.invoke(app, ["gpu", "preflight", "-s", "mine", "-o", "json"])
    return done.exit_code, json.loads(done.stdout or "[]"), done.stderr


H200 = {"fleet": {"h200": {"instanceType": "p5en.48xlarge"}}}


def test_what_fits_is_shown_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, rows, _ = run(tmp_path, monkeypatch, place="local", cluster=H200)
    assert code == 0
    assert {row["state"] for row in rows} == {"ok", "not stated"}
    (gpu,) = [row for row in rows if "H200" in row["with"]]
    assert (gpu["fits"], gpu["state"]) == ("550.90.07 or later", "ok")
    assert gpu["source"].startswith("NVIDIA MIG User Guide")
    assert all(row["source"] for row in rows)


def test_what_does_not_fit_ends_with_1_and_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"driver": {"version": "535.309.01"}}
    code, rows, stderr = run(tmp_path, monkeypatch, place="local", cluster=H200, gpu=gpu)
    assert code == 1
    assert [row["setting"] for row in rows if row["state"] == "wrong"] == ["inferstack:gpu.driver.version"]
    assert f"1 of {len(rows)} " in stderr


@pytest.mark.parametrize(("allowed", "code"), [(False, 1), (True, 0)])
def test_what_is_unknown_ends_with_1_unless_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool, code: int
) -> None:
    gpu = {"driver": {"version": "620.10.01"}, "preflight": {"allowUnknown": allowed}}
    exit_code, rows, _ = run(tmp_path, monkeypatch, place="local", cluster=H200, gpu=gpu)
    assert exit_code == code
    assert "unknown" in {row["state"] for row in rows}


def test_an_operator_that_is_there_is_asked_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addon = {"modes": {"gpu-operator": "present"}}
    code, rows, _ = run(tmp_path, monkeypatch, place="existing", addon=addon)
    assert code == 0
    assert {row["state"] for row in rows} == {"not stated"}


def test_a_place_that_there_is_not() -> None:
    with pytest.raises(UserError, match=r"^inferstack:place: expected one of local, existing, aws"):
        command.check({"place": "moon"})
