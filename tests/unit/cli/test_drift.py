"""``inferstack drift``: what it ends with and says, of engines that are scripts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inferstack.cli import app
from inferstack.errors import UserError

WriteEngine = Callable[[str], Path]
NAME = "urn:pulumi:here::inferstack::kubernetes:core/v1:ResourceQuota::q"


def _event(op: str) -> str:
    metadata = {"op": op, "urn": NAME, "type": "kubernetes:core/v1:ResourceQuota", "old": {"inputs": {}}}
    return json.dumps({"resOutputsEvent": {"metadata": {**metadata, "detailedDiff": {"spec.hard.pods": {}}}}})


@pytest.fixture
def engine(project: Path, keep_engine: WriteEngine, monkeypatch: pytest.MonkeyPatch) -> WriteEngine:
    """Return a function that puts an engine in place whose refresh has the given body; no control plane is started."""
    monkeypatch.setattr("inferstack.cli.stack.drift.prepared", lambda _: contextlib.nullcontext())

    def keep(body: str) -> Path:
        known = '[{"name": "organization/inferstack/here"}]'
        return keep_engine(f"case \"$1\" in\nstack) echo '{known}' ;;\nrefresh) {body} ;;\nesac\n")

    return keep


@pytest.mark.parametrize(("op", "code", "what"), [("same", 0, []), ("update", 2, ["changed"]), ("delete", 2, ["gone"])])
def test_the_exit_code_says_whether_anything_drifted(
    op: str, code: int, what: list[str], engine: WriteEngine, tmp_path: Path
) -> None:
    engine(f"echo \"$@\" > '{tmp_path}/asked'; echo '{_event(op)}' > \"$events\"")
    done = CliRunner().invoke(app, ["drift", "-s", "here", "-o", "json"])
    assert done.exit_code == code
    rows = json.loads(done.stdout)
    assert [row["what"] for row in rows] == what
    assert all(row["properties"] == ["spec.hard.pods"] for row in rows)
    # Without --preview-only the state would be changed.
    assert (tmp_path / "asked").read_text().startswith("refresh --preview-only ")


def test_a_table_is_without_colour(engine: WriteEngine) -> None:
    engine(f"echo '{_event('update')}' > \"$events\"")
    done = CliRunner().invoke(app, ["drift", "-s", "here"])
    assert "\x1b" not in done.output
    assert "spec.hard.pods" in done.stdout


def test_what_cannot_be_told_is_an_error_and_no_success(engine: WriteEngine) -> None:
    engine("echo 'no such host' >&2; exit 255")
    done = CliRunner().invoke(app, ["drift", "-s", "here"])
    assert isinstance(done.exception, UserError)
    assert "no such host" in str(done.exception)


def test_a_stack_that_was_never_up_is_said(engine: WriteEngine) -> None:
    engine("exit 0")
    done = CliRunner().invoke(app, ["drift", "-s", "there"])
    assert isinstance(done.exception, UserError)
    assert "`inferstack up -s there`" in str(done.exception)
