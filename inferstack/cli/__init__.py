"""The ``inferstack`` command: one module a verb, data on stdout, messages on stderr."""

from __future__ import annotations

import sys
from types import ModuleType

import typer

from inferstack.cli import crd, doctor, node, output, rehearsal, stack, tools
from inferstack.errors import UserError

_VERBS: tuple[ModuleType, ...] = (stack, rehearsal, tools, node, crd, doctor)

app = typer.Typer(
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
    except KeyboardInterrupt:
        output.fail("interrupted")
        sys.exit(130)
