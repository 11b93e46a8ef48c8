"""A run of the engine: its events, what it is asked for, how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from inferstack.cli.stack.session import Session
from tests.unit.cli.waiting import WAIT

MakeSession = Callable[[str], Session]


def test_events_are_handed_over_in_order_as_they_come(make_session: MakeSession, tmp_path: Path) -> None:
    """The engine writes the rest of a line, cut within a character, only after the line before it was handed over."""
    seen: list[dict[str, Any]] = []

    def on_event(event: dict[str, Any]) -> None:
        seen.append(event)
        (tmp_path / "seen").touch()

    session = make_session(
        r"""printf '{"n": 1}\n{"n": "\303' >> "$events"
        """
        + WAIT.format(file=tmp_path / "seen")
        + r"""printf '\251"}\n{"n": 3}\n{"torn": ' >> "$events"
        echo what it prints; echo on both >&2; exit 4
        """
    )

    result = session.update("up", on_event)

    assert seen == [{"n": 1}, {"n": "é"}, {"n": 3}]
    assert result.code == 4
    assert result.log.read_text() == "what it prints\non both\n"


def test_the_engine_is_asked_for_this_stack_with_the_copy_and_no_questions(make_session: MakeSession) -> None:
    session = make_session('echo "$PULUMI_DEBUG_COMMANDS $*"\n')
    logs = session.state / "logs"
    logs.mkdir(parents=True)
    (logs / "pulumi-destroy.events").write_text('{"of": "the run before"}\n')
    seen: list[dict[str, Any]] = []

    asked = session.update("destroy", seen.append).log.read_text()

    assert asked.startswith("true destroy --yes --skip-preview --non-interactive ")
    assert f"--stack here --config-file {session.config_file} --event-log {logs}/pulumi-destroy.events" in asked
    assert seen == []
