"""``inferstack status``, ``roles`` and ``outputs``: what a stack has in its cluster."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.options import StackOption
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack import jobs
from inferstack.cli.stack import roles as role_table
from inferstack.cli.stack.access import kubeconfig_of
from inferstack.cli.stack.session import Session
from inferstack.errors import UserError


def status(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """Show the InferenceJobs of a stack's cluster.

    Exits with status 1 unless all jobs are Ready.
    """
    rows, ready = asyncio.run(jobs.table(*kubeconfig_of(Session(stack, output.say))))
    show_jobs(rows, form)
    if not ready:
        raise typer.Exit(1)


def roles(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """Show the roles of a stack, their add-ons and objects.

    Exits with status 1 if an object is missing in the cluster.
    """
    session = Session(stack, output.say)
    if not session.exists():
        raise UserError(f"The stack {stack} does not exist here yet: create it with `inferstack up -s {stack}`.")
    if show_roles(session, form):
        raise typer.Exit(1)


def outputs(
    stack: StackOption = "local",
    form: FormatOption = Format.TABLE,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Show secret values.")] = False,
) -> None:
    """Show the outputs of a stack."""
    content = Session(stack, output.say).outputs(secrets=show_secrets)
    output.emit([{"name": name, "value": value} for name, value in content.items()], form)


def show_jobs(rows: list[dict[str, Any]], form: Format = Format.TABLE) -> None:
    """Print the table of jobs."""
    output.emit(rows, form)
    if not rows:
        output.say("There are no InferenceJobs.")


def show_roles(session: Session, form: Format = Format.TABLE) -> bool:
    """Print the table of roles; return whether an object is missing."""
    resources = session.resources()
    present, markers = asyncio.run(role_table.read(*kubeconfig_of(session), resources=resources))
    rows = role_table.make_rows(resources, present, markers)
    incomplete = any(row["message"] for row in rows)
    if not incomplete:
        rows = [{key: value for key, value in row.items() if key != "message"} for row in rows]
    output.emit(rows, form)
    return incomplete
