"""A project of the test's own, and engines that are scripts of a few lines."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inferstack.cli.stack import configuration
from inferstack.cli.stack import session as sessions
from inferstack.cli.stack.session import Session
from inferstack.engine.engine import Engine
from inferstack.toolchain.binaries.catalogue import group_of, groups

# Sets `events` to the file that the events go to.
HEAD = """#!/bin/sh
for word; do
    [ "$before" = --event-log ] && events=$word
    before=$word
done
"""

WriteEngine = Callable[[str], Path]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a state folder that is not there yet; the user's own engine, tools and clusters are out of reach."""
    for name in list(os.environ):
        if name.startswith(("PULUMI_", "INFERSTACK_", "KUBE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("INFERSTACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("INFERSTACK_STATE", str(tmp_path / "state"))
    # What is not there is not fetched either, should a command get that far.
    monkeypatch.setenv("INFERSTACK_TOOLS_FROM", "path")
    return tmp_path / "state"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a project with the stacks here and there."""
    root = tmp_path / "project"
    (root / "stacks").mkdir(parents=True)
    (root / "stacks" / "Pulumi.here.yaml").write_text("config:\n  inferstack:place: local\n")
    (root / "stacks" / "Pulumi.there.yaml").write_text("config:\n  inferstack:place: existing\n")
    monkeypatch.setattr(sessions, "project_root", lambda: root)
    monkeypatch.setattr(configuration, "project_root", lambda: root)
    return root


@pytest.fixture
def write_engine(tmp_path: Path) -> WriteEngine:
    """Return a function that writes an engine with the given body and returns its path."""

    def write(body: str) -> Path:
        path = tmp_path / "bin" / "pulumi"
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEAD + body)
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def make_session(project: Path, write_engine: WriteEngine) -> Callable[[str], Session]:
    """Return a function that makes a session of the stack here, whose engine has the given body."""

    def make(body: str) -> Session:
        session = Session("here", lambda _: None)
        session.engine = Engine(project, session.state, binary=write_engine(body))
        return session

    return make


@pytest.fixture
def keep_engine(tmp_path: Path, write_engine: WriteEngine) -> WriteEngine:
    """Return a function that puts an engine with the given body where the command looks for its tools."""

    def keep(body: str) -> Path:
        version = group_of("pulumi", groups()).version
        place = tmp_path / "cache" / "tools" / "pulumi" / version / "pulumi"
        place.parent.mkdir(parents=True)
        return write_engine(body).rename(place)

    return keep
