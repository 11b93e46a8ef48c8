"""Rotation of a passphrase with the real engine on a file backend, killed after each of its steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inferstack.cli.stack.session import Session
from inferstack.errors import UserError
from inferstack.project import project_root
from inferstack.state.rotate import folder_of, passphrase_of
from inferstack.toolchain import binaries
from tests.rehearsal.command import InferstackCommand

pytestmark = pytest.mark.skipif(binaries.locate("pulumi") is None, reason="no engine yet: `inferstack tools ensure`")

VALUE = "canary-of-a-rotation"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InferstackCommand:
    """A stack with one secret in its configuration."""
    (tmp_path / "Pulumi.local.yaml").write_text("config:\n  inferstack:place: local\n")
    command = InferstackCommand(tmp_path / "state")
    command.environment |= {"INFERSTACK_STACKS": str(tmp_path)}
    for name in ("INFERSTACK_STACKS", "INFERSTACK_STATE"):
        monkeypatch.setenv(name, command.environment[name])
    command.run_checked("pulumi", "config", "set", "--secret", "token", VALUE)
    return command


READ = ("config", "get", "token", "--stack", "local", "--non-interactive")


def _secret(command: InferstackCommand) -> str:
    read = Session("local", lambda _: None).engine.output(["-C", str(command.state / "stacks"), *READ])
    assert read.returncode == 0, read.stderr
    return read.stdout.strip()


def _salt(folder: Path) -> str:
    [line] = [text for text in (folder / "Pulumi.local.yaml").read_text().splitlines() if "encryptionsalt" in text]
    return line


def test_rotation_invalidates_the_old_passphrase(command: InferstackCommand, tmp_path: Path) -> None:
    before = _salt(tmp_path)
    shared = (command.state / "passphrase").read_text()

    command.run_checked("state", "rotate")

    own = passphrase_of(command.state, "local")
    assert own.read_text() != shared
    assert own.stat().st_mode & 0o777 == 0o600
    assert _secret(command) == VALUE
    assert _salt(tmp_path) != before  # the user's file follows
    old = Session("local", lambda _: None).engine.output(
        ["-C", str(command.state / "stacks"), *READ],
        environment={"PULUMI_CONFIG_PASSPHRASE_FILE": str(command.state / "passphrase")},
    )
    assert old.returncode != 0
    assert "incorrect passphrase" in old.stderr


def _kill(command: InferstackCommand, step: str) -> int:
    """Run a rotation that is killed at the step and return its exit status."""
    script = Path(__file__).with_name("killed.py")
    environment = {**os.environ, **command.environment, "PYTHONPATH": str(project_root())}
    return subprocess.run([sys.executable, script, "local", step], env=environment, check=False, timeout=120).returncode


@pytest.mark.parametrize(("step", "forward"), [("begin", False), ("change", True), ("commit", True)])
def test_killed_rotation_is_resumed_or_rolled_back(command: InferstackCommand, step: str, forward: bool) -> None:
    assert _kill(command, step) == -9
    assert folder_of(command.state, "local").is_dir()
    with pytest.raises(UserError, match="inferstack state rotate -s local"):
        Session("local", lambda _: None).select()

    assert f"{'the new' if forward else 'the old'} key is in use" in command.run_checked("state", "rotate")

    assert _secret(command) == VALUE
    assert passphrase_of(command.state, "local").exists() == forward
    assert not list(command.state.glob("rotation.*"))


def test_rotation_killed_between_two_writes_is_rolled_back(command: InferstackCommand) -> None:
    checkpoint = command.state / "pulumi" / ".pulumi" / "stacks" / "inferstack" / "local.json"
    before = checkpoint.read_bytes()
    assert _kill(command, "change") == -9
    checkpoint.write_bytes(before)  # the configuration is written first

    assert "the old key is in use" in command.run_checked("state", "rotate")

    assert _secret(command) == VALUE
    assert not passphrase_of(command.state, "local").exists()
