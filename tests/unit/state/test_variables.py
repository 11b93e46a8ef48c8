"""Variables that name a passphrase: stale and hiding ones are rejected."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferstack.cli.stack.session import Session
from inferstack.errors import UserError
from inferstack.state.rotate import VARIABLES, refuse_hiding, refuse_stale
from inferstack.toolchain import binaries
from tests.rehearsal.command import InferstackCommand

TEXT, FILE = VARIABLES


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder where the stack a has a passphrase of its own."""
    (tmp_path / "passphrases").mkdir()
    for name in ("passphrase", "passphrases/a", "mine"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("stack", "file", "is_stale"),
    [
        ("a", "passphrases/a", False),
        ("a", "passphrase", True),
        ("b", "passphrase", False),
        ("b", "passphrases/a", True),
        ("a", "mine", False),
        ("a", "", False),
    ],
)
def test_stale_passphrase_file_is_rejected(state: Path, stack: str, file: str, is_stale: bool) -> None:
    environment = {FILE: str(state / "x" / ".." / file) if file else ""}
    if not is_stale:
        refuse_stale(environment, state, stack)
        return
    with pytest.raises(UserError, match=rf"stack {stack}.*unset {FILE}"):
        refuse_stale(environment, state, stack)


def test_unset_variables_are_accepted(state: Path) -> None:
    for environment in ({}, {FILE: ""}):
        refuse_stale(environment, state, "a")
        refuse_hiding(environment, state, "a")


def test_passphrase_variable_takes_precedence_over_file_variable(state: Path) -> None:
    environment = {TEXT: "", FILE: str(state / "passphrase")}
    refuse_stale(environment, state, "a")
    with pytest.raises(UserError, match=TEXT):
        refuse_hiding(environment, state, "a")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (FILE, "passphrases/a", f"`unset {FILE}`"),
        (FILE, "passphrase", f"`unset {FILE}`"),
        (FILE, "mine", "change-secrets-provider"),
        (TEXT, "x", "change-secrets-provider"),
    ],
)
def test_variable_that_hides_the_new_passphrase_is_rejected(
    state: Path, variable: str, value: str, message: str
) -> None:
    environment = {variable: str(state / value) if variable == FILE else value}
    with pytest.raises(UserError, match=message):
        refuse_hiding(environment, state, "a")


def test_session_with_the_passphrase_of_another_stack_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    (tmp_path / "Pulumi.b.yaml").write_text("config:\n  inferstack:place: local\n")
    monkeypatch.setenv("INFERSTACK_STACKS", str(tmp_path))
    monkeypatch.setenv("INFERSTACK_STATE", str(state))
    monkeypatch.setenv(FILE, str(state / "passphrases" / "a"))
    monkeypatch.delenv(TEXT, raising=False)
    with pytest.raises(UserError, match=rf"{FILE}.*stack b"):
        Session("b", lambda _: None).check_place()
    (tmp_path / "Pulumi.b.yaml").write_text("secretsprovider: awskms://alias/x?region=r\nconfig: {}\n")
    Session("b", lambda _: None).check_place()  # by a key of a cloud: no passphrase is asked for


@pytest.mark.skipif(binaries.locate("pulumi") is None, reason="no engine yet: `inferstack tools ensure`")
def test_rotation_with_exported_passphrase_variables_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.local.yaml").write_text("config:\n  inferstack:place: local\n")
    command = InferstackCommand(tmp_path / "state")
    command.environment |= {"INFERSTACK_STACKS": str(tmp_path)}
    command.run_checked("pulumi", "config", "set", "--secret", "token", "x")
    exported = dict(
        line.removeprefix("export ").split("=", 1)
        for line in command.run_checked("env").splitlines()
        if "PASSPHRASE" in line
    )
    assert exported == {FILE: str(command.state / "passphrase")}
    before = {path: path.read_bytes() for path in _kept(command, tmp_path)}
    command.environment |= exported

    code, output = command.run("state", "rotate")

    assert code == 1
    assert f"unset {FILE}" in output
    assert {path: path.read_bytes() for path in _kept(command, tmp_path)} == before


def _kept(command: InferstackCommand, stacks: Path) -> list[Path]:
    """Return the files that a rotation changes, makes or removes."""
    files = [stacks / "Pulumi.local.yaml", *command.state.glob("passphrase*"), *command.state.glob("rotation.*")]
    files += [*(command.state / "stacks").iterdir(), *(command.state / "pulumi").rglob("local.json")]
    return [path for path in files if path.is_file()]
