"""One stack and its Pulumi engine."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferstack.cli.stack.configuration import (
    check_settings,
    read_file,
    read_values,
    stack_file,
    to_keep,
    with_salt,
)
from inferstack.cli.stack.event_log import Event, event_log
from inferstack.cli.stack.interrupts import Interrupts
from inferstack.engine.engine import Engine
from inferstack.errors import UserError
from inferstack.project import project_root, state_dir
from inferstack.state import place
from inferstack.state.rotate import folder_of, refuse_stale

Report = Callable[[str], None]
_RELEASE = "kubernetes:helm.sh/v3:Release"
_EVENTS = {"PULUMI_DEBUG_COMMANDS": "true"}
"""Environment in which the engine accepts ``--event-log``."""


@dataclass(frozen=True)
class Result:
    """Result of a run of the engine."""

    code: int
    log: Path
    """Output of the engine."""


class Session:
    """A stack of this project.

    The engine keeps the salt of a stack's encryption in the stack's configuration file. The user's file is under
    version control, while the passphrase belongs to this machine. The engine therefore uses a copy in the state folder,
    and the copy holds the salt. If the user's file has encrypted values, its own salt takes precedence.

    Args:
        stack: name of the stack; ``stacks/Pulumi.<stack>.yaml`` must exist.
        report: called with progress messages.

    Raises:
        UserError: the stack file does not exist.
    """

    def __init__(self, stack: str, report: Report) -> None:
        self.stack = stack
        self.report = report
        self.root = project_root()
        self.state = state_dir()
        self.source = stack_file(stack)
        self._folder = self.state / "stacks"
        self.engine = Engine(self.root, self.state, configuration=self._folder, stack=stack, report=report)
        self.config_file = self._folder / f"Pulumi.{stack}.yaml"
        self._selected = False

    @functools.cached_property
    def _own(self) -> dict[str, Any]:
        """The stack's own file, read once, so that its place and its secrets provider come from the same content."""
        return read_file(self.source)

    @property
    def provider(self) -> str | None:
        """The secrets provider in the stack's own file; None if the file has none."""
        return place.provider_of(self._own)

    def configuration(self) -> dict[str, Any]:
        """Return the stack's values: before `select` those of its own file, afterwards those of the engine's copy.

        Raises:
            UserError: the file is not YAML, or has no mapping under ``config``.
        """
        return read_values(self.config_file if self._selected else self.source)

    def select(self) -> None:
        """Create the stack in the backend if it is missing, and update the copy of its configuration.

        Raises:
            UserError: the location of the state is not allowed, or a rotation of its secrets was interrupted.
        """
        self.check_place()  # report errors in the file before creating anything
        if folder_of(self.state, self.stack).exists():
            raise UserError(
                f"A rotation of the secrets of stack {self.stack} was interrupted: "
                f"complete it with `inferstack state rotate -s {self.stack}`."
            )
        self.create()

    def check_place(self) -> None:
        """Check that the location of the stack's state is allowed.

        Raises:
            UserError: it is not, or the environment names a passphrase file of the state folder that belongs to
                another stack or to an earlier rotation.
        """
        where = str(self._own["config"].get("inferstack:place"))
        backend = place.backend_of(self.root, os.environ)
        place.refuse(place.find_problems(self.stack, where, backend, self.provider))
        if place.type_of(self.provider) == place.PASSPHRASE:
            refuse_stale(os.environ, self.state, self.stack)

    def create(self) -> None:
        """Do what `select` does, without its checks."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The engine finds a project of the same name in this folder and writes the salt of a new stack there.
        (self._folder / "Pulumi.yaml").write_text("name: inferstack\nruntime: python\n")
        chosen = ["--secrets-provider", self.provider] if self.provider else []
        self._checked(["-C", str(self._folder), "stack", "select", "--create", self.stack, *chosen])
        kept = self.config_file.read_text() if self.config_file.exists() else ""
        self.config_file.write_text(with_salt(self.source.read_text(), kept))
        self._selected = True

    def configure(self, values: Sequence[str]) -> None:
        """Set values in the copy of the configuration until the next `select`.

        The engine's own ``up --config`` is not used: it replaces the whole object that contains the value.

        Args:
            values: each ``KEY=VALUE``; the key may be a path.

        Raises:
            UserError: a value has no ``=``, or the engine rejects it.
        """
        check_settings(values)
        chosen = [part for value in values for part in ("--plaintext", value)]
        place = ["--stack", self.stack, "--config-file", str(self.config_file)]
        if chosen:
            self._checked(["config", "set-all", "--path", *chosen, *place])

    def exists(self) -> bool:
        """Return whether the stack exists in the backend."""
        listed = json.loads(self._checked(["stack", "ls", "--json", "--all"]))
        return any(entry["name"].split("/")[-1] == self.stack for entry in listed)

    def objects(self) -> list[dict[str, Any]]:
        """Return the inputs of all Kubernetes objects in the stack's state."""
        return [
            resource["inputs"]
            for resource in self.resources()
            if resource["type"].startswith("kubernetes:")
            and not resource.get("external")
            and not resource["type"].endswith("Patch")
            and "kind" in resource.get("inputs", {})
        ]

    def releases(self) -> set[str]:
        """Return the names of the Helm releases in the stack's state."""
        return {resource["inputs"]["name"] for resource in self.resources() if resource["type"] == _RELEASE}

    def cloud_names(self) -> set[str]:
        """Return the ids and ARNs of the AWS resources in the stack's state."""
        mine = [resource for resource in self.resources() if resource["type"].startswith("aws:")]
        return {
            name for resource in mine for name in (resource.get("id"), resource.get("outputs", {}).get("arn")) if name
        }

    def resources(self) -> list[dict[str, Any]]:
        """Return all resources of the stack's state, in the order of the state."""
        exported = json.loads(self.export())
        resources: list[dict[str, Any]] = exported["deployment"].get("resources") or []
        return resources

    def outputs(self, *, secrets: bool) -> dict[str, Any]:
        """Return the stack's outputs; secret values are ``[secret]`` unless ``secrets`` is set."""
        shown = ["--show-secrets"] if secrets else []
        content: dict[str, Any] = json.loads(
            self._checked(["stack", "output", "--json", "--stack", self.stack, *shown])
        )
        return content

    def export(self) -> str:
        """Return the engine's export of the stack's state, with secrets encrypted."""
        return self._checked(["stack", "export", "--stack", self.stack])

    def remove(self) -> None:
        """Remove an empty stack and the copy of its configuration."""
        self._checked(["-C", str(self._folder), "stack", "rm", "--yes", self.stack])
        self.config_file.unlink(missing_ok=True)
        self._selected = False

    def pulumi(self, args: Sequence[str]) -> int:
        """Run ``pulumi ARGS`` for this stack on the user's terminal."""
        # Set as variables, because not every command has these options.
        chosen = {"PULUMI_STACK": self.stack, "PULUMI_OPTION_CONFIG_FILE": str(self.config_file)}
        if "--event-log" in args:
            chosen |= _EVENTS
        return self.engine.run(args, environment=chosen)

    def quietly(self, args: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run ``pulumi ARGS`` for this stack without prompts, and return its output."""
        chosen = ["--stack", self.stack, "--config-file", str(self.config_file)]
        return self.engine.output([*args, "--non-interactive", "--color", "never", *chosen], environment=_EVENTS)

    def keep_configuration(self) -> None:
        """Copy changes that a command such as ``config set`` made in the copy to the user's file."""
        # `stack rm` also removes the user's file, which is under version control; it is restored here.
        source = self.source.read_text() if self.source.exists() else ""
        kept = to_keep(source, self.config_file.read_text())
        if kept != source:
            self.source.write_text(kept)

    def update(self, verb: str, on_event: Callable[[Event], None], more: Sequence[str] = ()) -> Result:
        """Run ``pulumi up`` or ``destroy`` with more options and without prompts, and pass on its events.

        After an interrupt, the engine completes and records the operations that are in progress. A second interrupt
        stops the engine at once. In both cases, the next run continues from there. The engine runs in a separate
        process group: otherwise the terminal would send it each interrupt a second time, and the engine stops at once
        after two interrupts.

        Raises:
            KeyboardInterrupt: the run was interrupted; the engine has exited.
        """
        logs = self.state / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"pulumi-{verb}.log"
        command = [verb, "--yes", "--skip-preview", "--non-interactive", "--color", "never", "--suppress-outputs"]
        command += ["--stack", self.stack, "--config-file", str(self.config_file), *more]
        interrupts = Interrupts(self.report)
        with (
            interrupts.taken(),
            event_log(self.state, verb) as events,
            log.open("w") as output,
            self.engine.started(
                [*command, "--event-log", str(events)],
                _EVENTS,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            ) as process,
        ):
            interrupts.pass_to(process)
            done = threading.Event()
            follower = threading.Thread(target=_follow, args=(events, on_event, done), daemon=True)
            follower.start()
            code = process.wait()
            done.set()
            follower.join()
        if interrupts.count:
            raise KeyboardInterrupt
        return Result(code, log)

    def _checked(self, args: Sequence[str]) -> str:
        done = self.engine.output([*args, "--non-interactive"])
        if done.returncode:
            raise UserError(f"pulumi {' '.join(args)} failed: {done.stderr.strip().removeprefix('error: ')}")
        return done.stdout


def _follow(path: Path, on_event: Callable[[Event], None], done: threading.Event) -> None:
    """Pass on the lines of a growing file of JSON lines until ``done`` is set and the file has been read."""
    with path.open("rb") as file:  # a write may end within a character
        rest = b""
        while True:
            last = done.is_set()
            rest += file.read()
            *whole, rest = rest.split(b"\n")
            for line in whole:
                on_event(json.loads(line))
            if last:
                return
            done.wait(0.1)  # the engine does not signal its writes
