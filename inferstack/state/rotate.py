"""Rotation of the key of a stack's secrets. A kill at any moment loses neither the state nor the secrets.

One folder holds what a rollback needs. It appears atomically before any change and is removed last:

1. ``begin``: saves the state, the configuration and, for a passphrase provider, the new passphrase.
2. ``change``: the engine re-encrypts configuration and state (two writes; between them, neither key reads both).
3. ``verify``: reads all secrets of both with the new key.
4. ``commit``: the new passphrase replaces the stack's old one.
5. ``end``: removes the folder.

If the folder exists, a rotation was interrupted. If the new key reads all secrets, the rotation continues with step 4.
Otherwise, state and configuration are restored.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from inferstack.errors import UserError
from inferstack.state.backup import parse, sync_folder, write_new, write_over
from inferstack.state.place import PASSPHRASE, type_of

VARIABLES = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
"""Variables from which the engine reads a passphrase; the first takes precedence."""
_PASSPHRASES = "passphrases"
_BYTES = 32
"""Random bytes in a passphrase."""


class Stack(Protocol):
    """Operations of the engine on a stack."""

    config_file: Path
    """The engine's configuration file of the stack, with the salt or key of its secrets."""

    def export(self) -> str:
        """Return the state, with secrets encrypted."""

    def load(self, file: Path) -> None:
        """Replace the current state with an exported one."""

    def change(self, provider: str, passphrase: Path | None) -> None:
        """Re-encrypt configuration and state."""

    def readable(self, passphrase: Path | None) -> bool:
        """Return whether all secrets can be read; None uses the stack's own passphrase."""


def _nothing(_: str) -> None:
    return


class Rotation:
    """A new or an interrupted rotation.

    Args:
        state_dir: the state folder.
        name: name of the stack.
        stack: operations of the engine on the stack.
        reached: called with the name of each completed step.
    """

    def __init__(self, state_dir: Path, name: str, stack: Stack, reached: Callable[[str], None] = _nothing) -> None:
        self._folder = folder_of(state_dir, name)
        self._own = passphrase_of(state_dir, name)
        self._stack = stack
        self._reached = reached

    @property
    def fresh(self) -> Path:
        """File of the new passphrase during the rotation."""
        return self._folder / PASSPHRASE

    def renew(self, provider: str) -> None:
        """Switch the stack to a new key; `end` must follow.

        Raises:
            UserError: the switch failed; the previous state is restored.
        """
        self.begin(provider)
        self.change(provider)
        self.commit()

    def begin(self, provider: str) -> None:
        """Save what a rollback needs."""
        draft = self._folder.with_name(f"{self._folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        write_new(draft / "state.json", self._stack.export())
        write_new(draft / "config.yaml", self._stack.config_file.read_text())
        if type_of(provider) == PASSPHRASE:
            write_new(draft / PASSPHRASE, secrets.token_urlsafe(_BYTES))
        draft.rename(self._folder)
        sync_folder(self._folder.parent)
        self._reached("begin")

    def change(self, provider: str) -> None:
        """Re-encrypt configuration and state, and verify that the new key reads both.

        Raises:
            UserError: the verification failed; the previous state is restored.
        """
        self._stack.change(provider, self._new())
        self._reached("change")
        if not self._forward():
            self.go_back()
            raise UserError("The new key cannot read what was encrypted with it; the old key is in use again.")
        self._reached("verify")

    def settle(self) -> bool:
        """Complete or roll back an interrupted rotation; return whether the new key is in use.

        Raises:
            UserError: neither is possible.
        """
        if self._forward():
            self.commit()
            return True
        self.go_back()
        return False

    def commit(self) -> None:
        """Make the new passphrase the stack's own; `end` must follow."""
        if (new := self._new()) is not None:
            self._own.parent.mkdir(mode=0o700, exist_ok=True)
            write_over(self._own, new.read_text())
        self._reached("commit")

    def end(self) -> None:
        """Remove what a rollback needs."""
        gone = self._folder.with_name(f"{self._folder.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        self._folder.rename(gone)  # a partly removed folder would look like a rotation
        shutil.rmtree(gone)
        self._reached("end")

    def go_back(self) -> None:
        """Restore the saved state and configuration.

        Raises:
            UserError: the state has changed since the rotation began, or the old key cannot read the saved state.
        """
        saved = self._folder / "state.json"
        then, now = (_written(text) for text in (saved.read_text(), self._stack.export()))
        if then != now:
            raise UserError(
                f"The state has been changed ({now}) since the rotation began ({then}). Compare both, restore the "
                f"right one with `pulumi stack import`, then remove {self._folder}."
            )
        write_over(self._stack.config_file, (self._folder / "config.yaml").read_text())
        self._stack.load(saved)
        if not self._stack.readable(None):
            raise UserError(
                f"The old key cannot read the state that it encrypted; the saved files are in {self._folder}."
            )

    def _forward(self) -> bool:
        """Return whether the state has the new key and it reads all secrets; any key reads a state without secrets."""
        then, now = (_key(text) for text in ((self._folder / "state.json").read_text(), self._stack.export()))
        return then != now and self._stack.readable(self._new())

    def _new(self) -> Path | None:
        return self.fresh if self.fresh.exists() else None


def folder_of(state_dir: Path, name: str) -> Path:
    """Return the folder of a rotation in progress."""
    return state_dir / f"rotation.{name}"


def passphrase_of(state_dir: Path, name: str) -> Path:
    """Return the file of a stack's own passphrase, which exists after the first rotation."""
    return state_dir / _PASSPHRASES / name


def current_of(state_dir: Path, name: str) -> Path:
    """Return the file of a stack's current passphrase: its own, or else the project's."""
    own = passphrase_of(state_dir, name)
    return own if own.exists() else state_dir / PASSPHRASE


def refuse_stale(environment: Mapping[str, str], state_dir: Path, name: str) -> None:
    """Reject variables that name a passphrase file of the state folder other than the stack's.

    Variables of ``inferstack env`` stay in a shell. They may name the passphrase of another stack, or one that has been
    rotated.

    Raises:
        UserError: the variables name such a file.
    """
    variable, named = VARIABLES[1], _ours(environment, state_dir)
    if named is not None and named != current_of(state_dir, name).resolve():
        raise UserError(
            f"${variable} names {named}, which is not the passphrase of stack {name}: `unset {variable}`, or "
            f'`eval "$(inferstack env -s {name})"` in a new shell.'
        )


def refuse_hiding(environment: Mapping[str, str], state_dir: Path, name: str) -> None:
    """Reject a rotation if variables would override the new passphrase, because the engine prefers them.

    Raises:
        UserError: such a variable is set; the message contains the fix.
    """
    if _ours(environment, state_dir) is not None:
        raise UserError(
            f"${VARIABLES[1]} names the current passphrase (`inferstack env` prints it) and would override the new "
            f"one: `unset {VARIABLES[1]}` in this and each other shell that sets it, then rotate."
        )
    for variable in VARIABLES:
        if variable in environment and (environment[variable] or variable == VARIABLES[0]):
            raise UserError(
                f"You set the passphrase with ${variable}: change it with `inferstack pulumi -s {name} stack "
                "change-secrets-provider passphrase`, then change it where you keep it."
            )


def _ours(environment: Mapping[str, str], state_dir: Path) -> Path | None:
    """Return the file in the state folder from which the engine would read the passphrase; None for another source."""
    named = environment.get(VARIABLES[1])
    # An empty passphrase counts as set; an empty file name does not.
    if VARIABLES[0] in environment or not named:
        return None
    file, folder = Path(named).expanduser().resolve(), state_dir.resolve()
    return file if file == folder / PASSPHRASE or file.parent == folder / _PASSPHRASES else None


def _key(text: str) -> object:
    """Return a state's description of its key: a salt or an encrypted key, which changes with each rotation."""
    return parse(text)["deployment"].get("secrets_providers")


def _written(text: str) -> str:
    """Return the time at which an update last wrote a state; re-encryption keeps it."""
    manifest = parse(text)["deployment"].get("manifest") or {}
    return json.dumps(manifest.get("time"))
