"""The ``inferstack`` command: one module a verb, data on stdout, messages on stderr."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

from inferstack.cli import crd, doctor, gpu, mirror, node, orphans, output, rehearsal, settings, stack, switches, tools
from inferstack.errors import UserError

_VERBS: tuple[ModuleType, ...] = (stack, settings, orphans, rehearsal, tools, node, switches, gpu, crd, mirror, doctor)


class _Group(TyperGroup):
    """Says that it was interrupted; typer itself ends with 130 and without a word."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was chosen."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            output.fail("interrupted")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Group,
    name="inferstack",
    help="Rehearse and run a GPU inference platform on Kubernetes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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
