"""The ``inferstack`` command: data on stdout, messages on stderr, one sub-package for each group of commands.

Sub-commands are listed in `registry` and imported when they run. They may use every package below the command line.
"""

from __future__ import annotations

import sys
from typing import Any

import typer

from inferstack.cli import loader, output
from inferstack.errors import UserError


class _Group(loader.RootGroup):
    """Reports an interrupt; typer exits with status 130 without a message."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            output.fail("interrupted")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Group,
    name="inferstack",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=loader.CONTEXT,
)


@app.callback()
def _inferstack() -> None:
    """Rehearse and run a GPU inference platform on Kubernetes."""


def main() -> None:
    """Run the command; a `UserError` is printed as one sentence and sets the exit status."""
    try:
        app()
    except UserError as error:
        output.fail(str(error))
        sys.exit(error.exit_code)
