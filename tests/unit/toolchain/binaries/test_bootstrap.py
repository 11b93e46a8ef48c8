"""tools/bootstrap.py, with pip and venv pretended."""

from __future__ import annotations

import ast
import fcntl
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from inferstack.project import project_root

SCRIPT = project_root() / "tools" / "bootstrap.py"


def load_bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bootstrap: Any = load_bootstrap()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project folder."""
    (tmp_path / "requirements").mkdir()
    for name in ("requirements/run.lock", "requirements/test.lock", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pretend every command; return the list of the steps that were run. A step named in `fail` fails."""
    done: list[str] = []

    def run(self: Any, step: str, command: list[str]) -> None:
        done.append(step)
        if step == "making .venv":
            self.python.parent.mkdir()
            self.python.touch()
        if os.environ.get("FAIL") == step:
            raise bootstrap.BootstrapError("failed")

    monkeypatch.setattr(bootstrap.Environment, "run", run)
    return done


ALL = {
    kind: ["making .venv", f"installing requirements/{kind}.lock", "installing the project"] for kind in bootstrap.KINDS
}


def test_old_python_reads_the_script() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))
    annotated = [
        node.name
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.returns or any(arg.annotation for arg in node.args.args))
    ]
    assert annotated == [], "annotations of later Pythons are evaluated, and fail, in older ones"


def test_old_python_gets_error_message() -> None:
    with pytest.raises(bootstrap.BootstrapError, match=r"^Python 3\.9 \(/usr/bin/python3\) is too old, 3\.11 or newer"):
        bootstrap.check_python((3, 9), "/usr/bin/python3")
    bootstrap.check_python((3, 11), "python3")
    bootstrap.check_python((4, 0), "python3")


def test_old_python_ends_with_an_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST", (9, 9))
    monkeypatch.setattr(bootstrap, "newer_python", lambda: None)
    assert bootstrap.main(["run"]) == 1
    assert capsys.readouterr().err.startswith("error: Python 3.")
    assert bootstrap.main(["walk"]) == 2


def test_second_run_does_nothing_and_a_changed_lock_is_installed_in_place(root: Path, steps: list[str]) -> None:
    bootstrap.bootstrap(root, "run")
    assert steps == ALL["run"]
    bootstrap.bootstrap(root, "run")
    assert steps == ALL["run"]
    (root / "requirements/run.lock").write_text("other")
    bootstrap.bootstrap(root, "run")
    assert steps == ALL["run"] + ALL["run"][1:]


def test_test_environment_satisfies_run_environment_only(root: Path, steps: list[str]) -> None:
    bootstrap.bootstrap(root, "test")
    bootstrap.bootstrap(root, "run")
    assert steps == ALL["test"]
    (root / ".venv/.bootstrap.json").unlink()
    steps.clear()
    bootstrap.bootstrap(root, "run")
    bootstrap.bootstrap(root, "test")
    assert steps == ALL["run"] + ALL["test"][1:]


@pytest.mark.parametrize("step", ALL["run"])
def test_incomplete_environment_is_recreated(
    root: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setenv("FAIL", step)
    with pytest.raises(bootstrap.BootstrapError):
        bootstrap.bootstrap(root, "run")
    monkeypatch.delenv("FAIL")
    left = root / ".venv" / "lib"
    left.mkdir()
    steps.clear()
    bootstrap.bootstrap(root, "run")
    assert steps == ALL["run"]
    assert not left.exists()


def test_incomplete_update_is_repeated(root: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lock = root / "requirements/run.lock"
    before = lock.read_text()
    bootstrap.bootstrap(root, "run")
    lock.write_text("other")
    monkeypatch.setenv("FAIL", ALL["run"][1])
    with pytest.raises(bootstrap.BootstrapError):
        bootstrap.bootstrap(root, "run")
    monkeypatch.delenv("FAIL")
    steps.clear()
    lock.write_text(before)  # back to the lock whose packages are half replaced
    bootstrap.bootstrap(root, "run")
    assert steps == ALL["run"]


@pytest.mark.parametrize(("key", "value"), [("root", "/elsewhere"), ("python", "3.10")])
def test_moved_folder_or_another_python_needs_a_new_environment(
    root: Path, steps: list[str], key: str, value: str
) -> None:
    bootstrap.bootstrap(root, "run")
    stamp = root / ".venv/.bootstrap.json"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), key: value}))
    bootstrap.bootstrap(root, "run")
    assert steps == ALL["run"] * 2


def test_unrelated_folder_is_not_overwritten(root: Path, steps: list[str]) -> None:
    (root / ".venv").mkdir()
    (root / ".venv/letters").write_text("mine")
    with pytest.raises(bootstrap.BootstrapError, match="is no virtual environment: move it away"):
        bootstrap.bootstrap(root, "run")
    assert (root / ".venv/letters").read_text() == "mine"


def test_concurrent_bootstrap_waits_and_does_nothing(
    root: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()
    monkeypatch.setattr(bootstrap, "say", lambda text: waits.set() if "waiting for another" in text else None)
    holder = os.open(root, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    second = threading.Thread(target=bootstrap.bootstrap, args=(root, "run"))
    second.start()
    assert waits.wait(20)
    bootstrap.Environment(root).make("run")
    os.close(holder)
    second.join(20)
    assert steps == ALL["run"]


def test_command_that_outlives_a_killed_bootstrap_is_waited_for(root: Path, tmp_path: Path) -> None:
    environment = bootstrap.Environment(root)
    environment.folder.mkdir()
    environment.lock()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command = [sys.executable, "-c", f"open({str(gate)!r}).read()"]
    first = threading.Thread(target=environment.run, args=("step", command))
    first.start()
    with gate.open("w"):  # once the command has opened it too
        environment.unlock()  # as a kill does
        other = os.open(root, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    first.join(20)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_full_disk_raises_error(root: Path) -> None:
    with pytest.raises(bootstrap.BootstrapError, match=r"^Only 0\.5 GiB are free on the disk of .* make room"):
        bootstrap.check_folder(root, 2**29)


def test_unwritable_folder_raises_error(root: Path, monkeypatch: pytest.MonkeyPatch, steps: list[str]) -> None:
    (root / ".venv").write_text("a file in the way")
    with pytest.raises(bootstrap.BootstrapError, match=r"^Cannot write .*\.venv \(.*\): make room or mend the rights"):
        bootstrap.bootstrap(root, "run")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(bootstrap.BootstrapError, match="cannot be written: take a clone of your own"):
        bootstrap.check_folder(root, 2**40)


def test_python_without_ensurepip_raises_error(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find(name))
    with pytest.raises(bootstrap.BootstrapError, match=r"has no module ensurepip: .*apt install python3-venv"):
        bootstrap.check_modules()


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full (step): make room and run again."),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "A package is not the one in the lock file (step): find out who"),
        ("NewConnectionError('x')", "The package index cannot be reached (step): check the network"),
        ("boom", "step failed:\nboom"),
    ],
)
def test_failed_step_reports_output(output: str, sentence: str) -> None:
    assert bootstrap.explain("step", output).startswith(sentence)


def test_command_that_fails_shows_what_it_printed(root: Path) -> None:
    environment = bootstrap.Environment(root)
    environment.folder.mkdir()
    environment.run("good", [sys.executable, "-c", "print('quiet')"])
    with pytest.raises(bootstrap.BootstrapError, match=r"^bad failed:\nwhy$"):
        environment.run("bad", [sys.executable, "-c", "print('why'); raise SystemExit(3)"])


def test_make_help_lists_every_public_target() -> None:
    command = ["make", "--no-print-directory"]
    done = subprocess.run(command, cwd=project_root(), capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    phony = re.search(r"^\.PHONY: (.*)$", (project_root() / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert listed == set(phony[1].split()) - {"run-venv", "test-venv"}
