"""The ``inferstack`` command: one module a verb, data on stdout, messages on stderr."""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

from inferstack.cli import output
from inferstack.cli.rehearsal import commands as rehearsal_commands
from inferstack.cli.rehearsal import node, switches
from inferstack.cli.stack import commands as stack_commands
from inferstack.cli.stack import state
from inferstack.cli.supply import crd, tools
from inferstack.errors import UserError

_VERBS: tuple[ModuleType, ...] = (stack_commands, rehearsal_commands, tools, node, switches, crd, state)
_PLANNING = {
    "settings": "stack.settings",
    "orphans": "stack.orphans",
    "mirror": "supply.mirror",
    "gpu": "stack.gpu",
    "mig": "mig.commands",
    "doctor": "stack.doctor",
    "policy": "policy.commands",
    "drift": "stack.drift",
    "versions": "supply.versions",
    "sbom": "supply.sbom",
    "load": "rehearsal.load",
}
"""Commands whose modules load much, most the whole program: the others do without that second."""
_HELP = {"help_option_names": ["-h", "--help"]}


class _Group(TyperGroup):
    """Loads commands when they are asked for, and says that it was interrupted: typer ends with 130 and no word."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return [*super().list_commands(ctx), *_PLANNING]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, from its module where it is not loaded yet."""
        return _load(cmd_name) if cmd_name in _PLANNING else super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was chosen."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            output.fail("interrupted")
            raise typer.Exit(130) from None


@functools.cache
def _load(name: str) -> Any:
    """Return the command that a module registers."""
    part = typer.Typer(context_settings=_HELP, pretty_exceptions_enable=False)
    importlib.import_module(f"inferstack.cli.{_PLANNING[name]}").register(part)
    return typer.main.get_group(part).commands[name]


app = typer.Typer(
    cls=_Group,
    name="inferstack",
    help="Rehearse and run a GPU inference platform on Kubernetes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)
for _verb in _VERBS:
    _verb.register(app)


def main() -> None:
    """Run the command; a `UserError` becomes one sentence and its exit code."""
    try:
        app()
    except UserError as error:
        output.fail(str(error))
        sys.exit(error.exit_code)
