"""Back up a stack's state, look whether it is whole, and give its secrets a new key."""

from __future__ import annotations

import datetime
import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated

import typer

from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.commands import StackOption
from inferstack.cli.stack.session import Session, only_one
from inferstack.errors import UserError
from inferstack.state.backup import check_file, parse, write_backup
from inferstack.state.checks import find_faults
from inferstack.state.place import PASSPHRASE, type_of
from inferstack.state.rotate import Rotation, folder_of, refuse_hiding

app = typer.Typer(help="Back up a stack's state, verify it, rotate the key of its secrets.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add this module's commands to the application."""
    parent.add_typer(app, name="state")


@app.command()
def backup(
    stack: StackOption = "local",
    to: Annotated[Path | None, typer.Option("--to", help="Folder; by default backups in the state folder.")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Write the state to a file of its own, secrets encrypted; exit code 1 where there is no such state."""
    session = _existing(stack)
    with only_one(session.state, output.say):
        text = session.export()
    path, manifest = write_backup(to or session.state / "backups", stack, text, datetime.datetime.now(datetime.UTC))
    output.emit([{"file": str(path), **asdict(manifest)}], form)


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="A backup; by default the live state.")] = None,
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="The stack that it is to be of.")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Look whether a state is whole and its secrets are encrypted; exit code 1 where anything is wrong."""
    if file is not None:
        provider = type_of(Session(stack, output.say).provider) if stack else None
        faults = check_file(file, stack=stack, provider=provider)
    else:
        session = _existing(stack or "local")
        faults = find_faults(parse(session.export()), provider=type_of(session.provider))
    output.emit([asdict(fault) for fault in faults], form)
    if faults:
        raise UserError(f"{len(faults)} faults: see above, and docs/runbooks/state-restore.md.")
    output.say(f"{file or 'the live state'} is whole")


@app.command()
def rotate(stack: StackOption = "local") -> None:
    """Encrypt a stack's secrets with a new key, or end a rotation that was interrupted.

    The key is the one that ``secretsprovider`` of the stack's file names: of a cloud's key a new data key is made, a
    passphrase is drawn anew. Exit code 1 where it failed; all is as before then.
    """
    session = _existing(stack)
    provider = session.provider or PASSPHRASE
    if type_of(provider) == PASSPHRASE:
        refuse_hiding(os.environ, session.state, stack)
    with only_one(session.state, output.say):
        rotation = Rotation(session.state, stack, Keys(session))
        if folder_of(session.state, stack).exists():
            forward = rotation.settle()
            output.say(f"ended an interrupted rotation: {'the new' if forward else 'the old'} key is in use")
        else:
            session.select()
            rotation.renew(provider)
        session.keep_configuration()
        rotation.end()
    output.say(f"the secrets of stack {stack} are encrypted by {type_of(provider)}; back the state up anew")


class Keys:
    """The engine's part in a rotation."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._place = ["-C", str(session.config_file.parent)]
        self.config_file = session.config_file

    def export(self) -> str:
        """Return the state, secrets encrypted."""
        return self._session.export()

    def load(self, file: Path) -> None:
        """Put an exported state in the place of the present one."""
        self._run([*self._place, "stack", "import", "--stack", self._session.stack, "--file", str(file)])

    def change(self, provider: str, passphrase: Path | None) -> None:
        """Encrypt configuration and state anew; the engine reads a new passphrase from its stdin."""
        arguments = [*self._place, "stack", "change-secrets-provider", "--stack", self._session.stack, provider]
        with (passphrase or Path(os.devnull)).open() as answer:
            self._run(arguments, answer)

    def readable(self, passphrase: Path | None) -> bool:
        """Tell whether all secrets can be read; what the engine prints goes nowhere."""
        extra = {"PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase)} if passphrase else {}
        name = ["--stack", self._session.stack, "--show-secrets", "--non-interactive"]
        reads = ([*self._place, "stack", "export", *name], [*self._place, "config", "--json", *name])
        return all(self._session.engine.output(args, environment=extra).returncode == 0 for args in reads)

    def _run(self, args: list[str], answer: IO[str] | int = subprocess.DEVNULL) -> None:
        whole = [*args, "--non-interactive"]
        with self._session.engine.started(
            whole, stdin=answer, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            told = process.communicate()[1]
        if process.returncode:
            raise UserError(f"pulumi {' '.join(args[2:4])} failed: {told.strip().removeprefix('error: ')}")


def _existing(stack: str) -> Session:
    session = Session(stack, output.say)
    session.check_place()
    if not session.exists():
        raise UserError(f"The stack {stack} has never been up here: there is no state.")
    return session
