"""New keys for a stack's secrets, so that a kill at any moment costs neither the state nor the secrets.

What is needed to go back lies in one folder, which appears whole before anything changes and goes last:

1. ``begin``: the state, the configuration and, for a passphrase, the new one are written down;
2. ``change``: the engine encrypts configuration and state anew (two writes, in between neither key reads both);
3. ``verify``: all secrets of both are read with the new key;
4. ``commit``: the new passphrase takes the place of the stack's old one;
5. ``end``: the folder is removed.

Whoever finds the folder goes on: where the new key reads all, from step 4; else state and configuration are put back.
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
"""Where the engine takes a passphrase from; the first goes before the second."""
_PASSPHRASES = "passphrases"
_BYTES = 32
"""Of randomness in a passphrase."""


class Stack(Protocol):
    """A stack as its engine works on it."""

    config_file: Path
    """The engine's configuration of the stack, with the salt or key of its secrets."""

    def export(self) -> str:
        """Return the state, secrets encrypted."""

    def load(self, file: Path) -> None:
        """Put an exported state in the place of the present one."""

    def change(self, provider: str, passphrase: Path | None) -> None:
        """Encrypt configuration and state anew."""

    def readable(self, passphrase: Path | None) -> bool:
        """Return whether all secrets can be read; with the stack's own passphrase where none is given."""


def _nothing(_: str) -> None:
    return


class Rotation:
    """One rotation, or what an interrupted one left.

    Args:
        state_dir: the state folder.
        name: of the stack.
        stack: to work on.
        reached: called with the name of each step that is done.
    """

    def __init__(self, state_dir: Path, name: str, stack: Stack, reached: Callable[[str], None] = _nothing) -> None:
        self._folder = folder_of(state_dir, name)
        self._own = passphrase_of(state_dir, name)
        self._stack = stack
        self._reached = reached

    @property
    def fresh(self) -> Path:
        """The new passphrase, while it is on its way."""
        return self._folder / PASSPHRASE

    def renew(self, provider: str) -> None:
        """Have the stack use a new key; `end` must follow.

        Raises:
            UserError: it failed; all is as it was before.
        """
        self.begin(provider)
        self.change(provider)
        self.commit()

    def begin(self, provider: str) -> None:
        """Write down what is needed to go back."""
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
        """Have the engine encrypt all anew, and see that the new key reads it.

        Raises:
            UserError: it does not; all is as it was before.
        """
        self._stack.change(provider, self._new())
        self._reached("change")
        if not self._forward():
            self.go_back()
            raise UserError("The new key does not read what was encrypted with it; the old one is in use again.")
        self._reached("verify")

    def settle(self) -> bool:
        """Go on with what an interrupted rotation left, forwards or back; return whether the new key is in use.

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
        """Forget how to go back."""
        gone = self._folder.with_name(f"{self._folder.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        self._folder.rename(gone)  # half a folder would look like a rotation
        shutil.rmtree(gone)
        self._reached("end")

    def go_back(self) -> None:
        """Put state and configuration back as they were.

        Raises:
            UserError: somebody has changed the state since, or the old key does not read it either.
        """
        saved = self._folder / "state.json"
        then, now = (_written(text) for text in (saved.read_text(), self._stack.export()))
        if then != now:
            raise UserError(
                f"The state has been changed ({now}) since the rotation began ({then}). Look at both, put the right "
                f"one in place with `pulumi stack import`, then remove {self._folder}."
            )
        write_over(self._stack.config_file, (self._folder / "config.yaml").read_text())
        self._stack.load(saved)
        if not self._stack.readable(None):
            raise UserError(
                f"The old key does not read the state that it wrote; all that is known is in {self._folder}."
            )

    def _forward(self) -> bool:
        """Return whether the new key is that of the state and reads all; any key reads one without secrets."""
        then, now = (_key(text) for text in ((self._folder / "state.json").read_text(), self._stack.export()))
        return then != now and self._stack.readable(self._new())

    def _new(self) -> Path | None:
        return self.fresh if self.fresh.exists() else None


def folder_of(state_dir: Path, name: str) -> Path:
    """Return the folder of a rotation under way."""
    return state_dir / f"rotation.{name}"


def passphrase_of(state_dir: Path, name: str) -> Path:
    """Return the file of a stack's own passphrase, there after its first rotation."""
    return state_dir / _PASSPHRASES / name


def current_of(state_dir: Path, name: str) -> Path:
    """Return the file of the passphrase that a stack's secrets have now: its own, else the project's."""
    own = passphrase_of(state_dir, name)
    return own if own.exists() else state_dir / PASSPHRASE


def refuse_stale(environment: Mapping[str, str], state_dir: Path, name: str) -> None:
    """Refuse variables that name a passphrase of the state folder which is not the stack's.

    It is that of another stack, or from before a rotation: the variables of ``inferstack env`` stay in a shell.

    Raises:
        UserError: they do.
    """
    variable, named = VARIABLES[1], _ours(environment, state_dir)
    if named is not None and named != current_of(state_dir, name).resolve():
        raise UserError(
            f"${variable} names {named}, which is not the passphrase of stack {name}: `unset {variable}`, or "
            f'`eval "$(inferstack env -s {name})"` in a new shell.'
        )


def refuse_hiding(environment: Mapping[str, str], state_dir: Path, name: str) -> None:
    """Refuse to draw a new passphrase where variables would hide it: the engine takes theirs.

    Raises:
        UserError: one is set, with what to do.
    """
    if _ours(environment, state_dir) is not None:
        raise UserError(
            f"${VARIABLES[1]} names the passphrase of today (`inferstack env` prints it) and would hide the new one: "
            f"`unset {VARIABLES[1]}`, here and in each shell that has it, then rotate."
        )
    for variable in VARIABLES:
        if variable in environment and (environment[variable] or variable == VARIABLES[0]):
            raise UserError(
                f"The passphrase is yours, out of ${variable}: change it with `inferstack pulumi -s {name} stack "
                "change-secrets-provider passphrase`, then where it is kept."
            )


def _ours(environment: Mapping[str, str], state_dir: Path) -> Path | None:
    """Return the file of the state folder out of which the engine would take the passphrase."""
    named = environment.get(VARIABLES[1])
    # An empty passphrase is one as well; an empty name of a file is none.
    if VARIABLES[0] in environment or not named:
        return None
    file, folder = Path(named).expanduser().resolve(), state_dir.resolve()
    return file if file == folder / PASSPHRASE or file.parent == folder / _PASSPHRASES else None


def _key(text: str) -> object:
    """Return how a state names its key: with a salt or an encrypted key, either new with each rotation."""
    return parse(text)["deployment"].get("secrets_providers")


def _written(text: str) -> str:
    """Return when a state was last written by an update; encrypting it anew keeps that."""
    manifest = parse(text)["deployment"].get("manifest") or {}
    return json.dumps(manifest.get("time"))
