"""Previews and updates that are held to the rules, on engines that only say what policies found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferstack.cli.stack import lifecycle, preview_report
from inferstack.cli.stack.session import Session
from inferstack.errors import UserError

MakeSession = Callable[[str], Session]


def telling(level: str, code: int) -> str:
    event: dict[str, Any] = {
        "policyEvent": {
            "policyName": "pods-not-privileged",
            "policyPackName": "inferstack",
            "enforcementLevel": level,
            "message": "Not so.\nPod nlp/server: server: Drop it.\n",
        }
    }
    return f'echo "$*" >> calls\ncat >> "$events" <<\'EVENT\'\n{json.dumps(event)}\nEVENT\nexit {code}\n'


HELD = ["--policy-pack", "policies"]


def test_an_update_that_its_end_would_stop_is_stopped_before(
    make_session: MakeSession, capsys: pytest.CaptureFixture[str]
) -> None:
    session = make_session(telling("mandatory", 1))

    with pytest.raises(UserError, match="nothing was changed"):
        lifecycle._check_rules(session, HELD)

    assert "pods-not-privileged" in capsys.readouterr().out
    (asked,) = (session.engine.project_root / "calls").read_text().splitlines()
    assert asked.startswith("preview --policy-pack policies ")


def test_what_is_advisory_lets_the_update_go_on(make_session: MakeSession) -> None:
    lifecycle._check_rules(make_session(telling("advisory", 0)), HELD)


def test_a_preview_that_fails_for_another_reason_says_it(make_session: MakeSession) -> None:
    session = make_session("echo 'error: no such program' >&2; exit 255\n")
    with pytest.raises(UserError, match="nothing was changed:\nerror: no such program"):
        lifecycle._check_rules(session, HELD)


def test_an_update_warns_and_stops_with_a_table(make_session: MakeSession, capsys: pytest.CaptureFixture[str]) -> None:
    lifecycle._update(make_session(telling("advisory", 0)), "up", HELD)
    assert "warning: Pod nlp/server: server: Drop it. (pods-not-privileged)" in capsys.readouterr().err

    with pytest.raises(UserError, match="The stack breaks rules"):
        lifecycle._update(make_session(telling("mandatory", 1)), "up", HELD)
    captured = capsys.readouterr()
    assert "WHAT TO DO" in captured.out
    assert "warning" not in captured.err


def test_a_preview_leaves_its_findings_in_the_report(make_session: MakeSession, tmp_path: Path) -> None:
    file = tmp_path / "made" / "report.json"
    assert preview_report.run(make_session(telling("mandatory", 1)), ["preview", *HELD], file) == 1
    (finding,) = json.loads(file.read_text())["findings"]
    assert (finding["rule"], finding["level"]) == ("pods-not-privileged", "mandatory")
    assert (finding["resource"], finding["message"]) == ("Pod nlp/server", "server: Drop it.")
