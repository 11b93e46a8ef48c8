"""A scenario is taken as it is written, and what is wrong in it is message by its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inferstack.errors import UserError
from rehearsal.load import control
from rehearsal.load.scenario import parse, read

JOB: dict[str, Any] = {"job": "nlp/chat", "arrivals": {"type": "constant", "rate": 5}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "s.yaml: jobs: is required"),
        ({"jobs": []}, "s.yaml: jobs: "),
        ({"jobs": [JOB], "seed": 1}, "s.yaml: seed: unknown key"),
        ({"jobs": [{**JOB, "arrivals": {"type": "constant"}}]}, r"jobs\[0\]\.arrivals\.rate: is required"),
        ({"jobs": [{**JOB, "arrivals": {"type": "constant", "rate": -1}}]}, r"jobs\[0\]\.arrivals\.rate: .*got -1"),
        ({"jobs": [{**JOB, "arrivals": {"type": "wave"}}]}, r"jobs\[0\]\.arrivals: .*'wave'"),
        ({"jobs": [{**JOB, "server": {"maxRuning": 3}}]}, r"jobs\[0\]\.server\.maxRuning: unknown key"),
        ({"jobs": [{**JOB, "job": "chat"}]}, r"jobs\[0\]\.job: .*got 'chat'"),
        ({"jobs": [JOB, JOB]}, "duplicate job nlp/chat"),
    ],
)
def test_invalid_scenario_names_key_path(content: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(content, "s.yaml")


def test_unreadable_scenario_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml cannot be read: No such file"):
        read(tmp_path / "nowhere.yaml")
    path = tmp_path / "s.yaml"
    path.write_text("- 1")
    with pytest.raises(UserError, match="not a mapping"):
        read(path)
    path.write_text("jobs: [{job: nlp/chat, arrivals: {type: trace, file: t.csv}}]")
    with pytest.raises(UserError, match=r"jobs\[0\]\.arrivals\.file: no such file: .*t\.csv"):
        read(path)


def test_control_file_round_trip(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("timestamp,input tokens,output tokens\n")
    path = tmp_path / "s.yaml"
    path.write_text(
        "jobs:\n- {job: nlp/chat, arrivals: {type: trace, file: t.csv}}\n"
        "- {job: nlp/embed, arrivals: {type: step, before: 1, after: 2, atSeconds: 3}, server: {coldStartSeconds: 9}}\n"
    )
    run = control.Run(read(path), 7, 123.5)
    assert control.read(tmp_path) is None
    control.write(tmp_path, run)
    assert control.read(tmp_path) == run
    assert control.remove(tmp_path)
    assert not control.remove(tmp_path)
