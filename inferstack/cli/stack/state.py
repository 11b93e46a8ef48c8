"""``inferstack state``: back up and verify a stack's state, rotate the key of its secrets."""

from __future__ import annotations

import datetime
import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated

import typer

from inferstack.cli import output
from inferstack.cli.options import StackOption
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.operation import project_lock
from inferstack.cli.stack.session import Session
from inferstack.errors import UserError
from inferstack.state.backup import check_file, parse, write_backup
from inferstack.state.checks import find_faults
from inferstack.state.place import PASSPHRASE, type_of
from inferstack.state.rotate import Rotation, folder_of, refuse_hiding


def backup(
    stack: StackOption = "local",
    to: Annotated[Path | None, typer.Option("--to", help="Output folder (default: .inferstack/backups).")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Write a backup of the state, with secrets encrypted.

    Exits with status 1 if there is no such state.
    """
    session = _existing(stack)
    with project_lock(session.state, output.say):
        text = session.export()
    path, manifest = write_backup(to or session.state / "backups", stack, text, datetime.datetime.now(datetime.UTC))
    output.emit([{"file": str(path), **asdict(manifest)}], form)


def verify(
    file: Annotated[Path | None, typer.Argument(help="Backup file (default: the live state).")] = None,
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="Stack that the backup must belong to.")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Check the integrity of a state or a backup.

    Also checks that its secrets are encrypted. Exits with status 1 if a check fails.
    """
    if file is not None:
        provider = type_of(Session(stack, output.say).provider) if stack else None
        faults = check_file(file, stack=stack, provider=provider)
    else:
        session = _existing(stack or "local")
        faults = find_faults(parse(session.export()), provider=type_of(session.provider))
    output.emit([asdict(fault) for fault in faults], form)
    if faults:
        raise UserError(f"{len(faults)} checks failed: see docs/runbooks/state-restore.md.")
    output.say(f"{file or 'the live state'} is intact")


def rotate(stack: StackOption = "local") -> None:
    """Encrypt the secrets of a stack with a new key.

    Completes a rotation that was interrupted. The key is the one that ``secretsprovider`` in the stack's file names: a
    new data key of a cloud's key, or a new passphrase. Exits with status 1 on failure, with everything as before.
    """
    session = _existing(stack)
    provider = session.provider or PASSPHRASE
    if type_of(provider) == PASSPHRASE:
        refuse_hiding(os.environ, session.state, stack)
    with project_lock(session.state, output.say):
        rotation = Rotation(session.state, stack, Keys(session))
        if folder_of(session.state, stack).exists():
            forward = rotation.settle()
            output.say(f"completed an interrupted rotation: {'the new' if forward else 'the old'} key is in use")
        else:
            session.select()
            rotation.renew(provider)
        session.keep_configuration()
        rotation.end()
    output.say(f"the secrets of stack {stack} are encrypted with a new key ({type_of(provider)}); make a new backup")


class Keys:
    """The operations of the engine that a rotation uses."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._place = ["-C", str(session.config_file.parent)]
        self.config_file = session.config_file

    def export(self) -> str:
        """Return the state, secrets encrypted."""
        return self._session.export()

    def load(self, file: Path) -> None:
        """Replace the present state by an exported one."""
        self._run([*self._place, "stack", "import", "--stack", self._session.stack, "--file", str(file)])

    def change(self, provider: str, passphrase: Path | None) -> None:
        """Encrypt configuration and state with a new key; the engine reads a new passphrase from stdin."""
        arguments = [*self._place, "stack", "change-secrets-provider", "--stack", self._session.stack, provider]
        with (passphrase or Path(os.devnull)).open() as answer:
            self._run(arguments, answer)

    def readable(self, passphrase: Path | None) -> bool:
        """Return whether all secrets can be decrypted; the output of the engine is discarded."""
        extra = {"PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase)} if passphrase else {}
        name = ["--stack", self._session.stack, "--show-secrets", "--non-interactive"]
        reads = ([*self._place, "stack", "export", *name], [*self._place, "config", "--json", *name])
        return all(self._session.engine.output(args, environment=extra).returncode == 0 for args in reads)

    def _run(self, args: list[str], answer: IO[str] | int = subprocess.DEVNULL) -> None:
        whole = [*args, "--non-interactive"]
        with self._session.engine.started(
            whole, stdin=answer, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            errors = process.communicate()[1]
        if process.returncode:
            raise UserError(f"pulumi {' '.join(args[2:4])} failed: {errors.strip().removeprefix('error: ')}")


def _existing(stack: str) -> Session:
    session = Session(stack, output.say)
    session.check_place()
    if not session.exists():
        raise UserError(f"The stack {stack} has no state here: create it with `inferstack up -s {stack}`.")
    return session
