"""``inferstack pulumi`` and ``env``: Pulumi and kubectl on a stack, as the commands use them."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from inferstack.cli import output
from inferstack.cli.options import StackOption
from inferstack.cli.stack.access import kubeconfig_of
from inferstack.cli.stack.operation import locked, prepared
from inferstack.cli.stack.session import Session
from inferstack.toolchain import binaries

_NEED_CLUSTER = frozenset({"up", "update", "preview", "destroy", "refresh", "import", "watch"})
"""Commands of Pulumi that read the cluster."""


def pulumi(
    arguments: Annotated[list[str], typer.Argument(help="Pulumi command, such as preview --diff or stack export.")],
    stack: StackOption = "local",
) -> None:
    """Run any Pulumi command on a stack.

    Example: inferstack pulumi -s existing refresh --preview-only
    """
    session = Session(stack, output.say)
    with locked(session), contextlib.ExitStack() as contexts:
        # `pulumi stack import` restores a state, `pulumi import` reads the cluster.
        if "stack" in arguments[:1] or _NEED_CLUSTER.isdisjoint(arguments):
            session.engine.prepare()
            session.select()
        else:
            contexts.enter_context(prepared(session))
        code = session.pulumi(arguments)
        session.keep_configuration()
    if code:
        raise typer.Exit(code)


def env(stack: StackOption = "local") -> None:
    """Print the environment variables for kubectl and Pulumi.

    Use it as: eval "$(inferstack env)". For commands that write, use `inferstack pulumi`: plain pulumi leaves the salt
    of its encryption in the stack's file.
    """
    session = Session(stack, output.say)
    variables = dict(session.engine.environment())
    kubectl = binaries.locate("kubectl")
    folders = [str(Path(sys.executable).parent), *([str(kubectl.parent)] if kubectl else [])]
    variables["PATH"] = os.pathsep.join([*folders, variables["PATH"]])
    if kubeconfig := kubeconfig_of(session)[0]:
        variables["KUBECONFIG"] = str(kubeconfig)
    for name, value in sorted(variables.items()):
        if os.environ.get(name) != value:
            typer.echo(f"export {name}={shlex.quote(value)}")
