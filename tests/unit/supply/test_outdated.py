"""Which pins are behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from inferstack.cli import app
from inferstack.cli.supply import versions
from inferstack.supply import outdated
from inferstack.supply.images import Image
from inferstack.supply.modules import Module
from inferstack.supply.outdated import Row, State

PIP = "aiohttp (3.15.0)\nAvailable versions: 3.15.0, 3.14.5, 4.0.0a1\n  INSTALLED: 3.14.5\n"
GO = json.dumps({"Path": "a.b/c", "Version": "v1.2.3", "Versions": ["v1.2.3", "v1.10.0", "v1.11.0-rc.1"]})


@pytest.mark.parametrize(
    ("pinned", "offered", "newest"),
    [
        ("1.2.3", ["1.2.3", "1.10.0"], "1.10.0"),
        ("1.2.3", ["1.2.2"], "1.2.3"),
        ("1.2.3", ["2.0.0rc1", "2.0.0b1"], None),
        ("v1.2.3", ["1.3.0"], "1.3.0"),
        ("3.11-slim", ["3.12-slim", "3.13-alpine", "3.12.1-slim", "latest"], "3.12-slim"),
        ("25.03-py3", ["25.04-py3", "25.05-py3-sdk", "26.01-vllm"], "25.04-py3"),
        ("cuda-1.8", ["cuda-1.9", "cuda-1.8.1", "cpu-2.0"], "cuda-1.9"),
        ("nothing", ["1.0"], None),
    ],
)
def test_newest_version_of_same_scheme(pinned: str, offered: list[str], newest: str | None) -> None:
    assert outdated.newest(pinned, offered) == newest


class Client:
    """Answers as a registry's client does."""

    def __init__(self, out: str, code: int = 0, err: str = "") -> None:
        self.answer = (code, out, err)
        self.commands: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        return self.answer


def test_each_registry_is_asked_by_its_own_client() -> None:
    pip, go, helm, crane = (
        Client(PIP),
        Client(GO),
        Client("name: keda\nversion: 2.21.0\n"),
        Client("v0.11.0\nv0.12.0\n"),
    )
    chart = {"chart": "keda", "version": "2.20.2", "repo": "https://x.example"}
    rows = [
        outdated.answer(outdated.of_package("aiohttp", "3.14.5", "python"), pip),
        outdated.answer(outdated.of_module("crane", Module("a.b/c", "v1.2.3", ""), "go"), go),
        outdated.answer(outdated.of_chart("keda", chart, "helm"), helm),
        outdated.answer(outdated.of_image(Image("vllm", "r.example/v", "v0.11.0", "", "x"), "crane"), crane),
    ]
    assert [(row.newest, row.state) for row in rows] == [
        ("3.15.0", State.BEHIND),
        ("v1.10.0", State.BEHIND),
        ("2.21.0", State.BEHIND),
        ("v0.12.0", State.BEHIND),
    ]
    assert helm.commands == [("helm", "show", "chart", "keda", "--repo", "https://x.example")]
    outdated.answer(outdated.of_chart("keda", {**chart, "repo": "oci://r.example/c"}, "helm"), helm)
    assert helm.commands[-1] == ("helm", "show", "chart", "oci://r.example/c/keda")


def test_unreachable_registry_is_an_error() -> None:
    row = outdated.answer(outdated.of_package("a", "1.0", "/x/python"), Client("", 1, "trying\nno such host\n"))
    assert (row.state, row.note) == (State.UNKNOWN, "python could not tell: no such host")
    late = outdated.answer(outdated.of_package("a", "1.0", "python"), Client("Available versions: 1.0b1\n"))
    assert late.state is State.UNKNOWN


def test_hanging_client_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outdated, "SECONDS", 0.01)
    code, _, err = outdated.call(["sleep", "5"])
    assert (code, err) == (124, "timeout after 0 s")
    assert outdated.call(["true"]) == (0, "", "")


def test_missing_client_is_reported() -> None:
    row = outdated.answer(outdated.of_module("crane", Module("a.b/c", "v1.2.3", ""), "/nowhere/go"), outdated.call)
    assert (row.state, row.note) == (State.UNKNOWN, "go could not tell: not installed")


def row(state: State) -> Row:
    return Row("python", "a", "1", "", state)


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([State.CURRENT, State.OURS], 0),
        ([State.CURRENT, State.UNKNOWN], 1),
        ([State.UNKNOWN, State.BEHIND], 2),
        ([], 0),
    ],
)
def test_exit_status_reflects_outdated_packages(states: list[State], code: int) -> None:
    assert versions.exit_code([row(state) for state in states]) == code


def test_command_queries_selected_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 1, "", "no such host")

    monkeypatch.setattr("inferstack.supply.outdated.subprocess.run", run)
    done = CliRunner().invoke(app, ["versions", "check", "--kind", "python", "-o", "json"])
    assert done.exit_code == 1
    rows = json.loads(done.stdout)
    assert "pulumi" in asked
    assert {row["state"] for row in rows} == {"unknown"}
    assert {row["name"] for row in rows} == set(asked)
