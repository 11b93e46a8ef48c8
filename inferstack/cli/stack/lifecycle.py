"""``inferstack up``, ``preview``, ``down`` and ``destroy``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.options import ConfigOption, PoliciesOption, StackOption, YesOption
from inferstack.cli.stack import findings, jobs, preview_report, status
from inferstack.cli.stack.access import kubeconfig_of, region_of
from inferstack.cli.stack.control_plane import control_plane_of
from inferstack.cli.stack.event_log import event_log, read
from inferstack.cli.stack.operation import locked, prepared
from inferstack.cli.stack.progress import Progress
from inferstack.cli.stack.session import Session
from inferstack.errors import UserError
from inferstack.logs import tail


def up(
    stack: StackOption = "local",
    config: ConfigOption = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show the changes and ask for confirmation.")] = False,
    yes: YesOption = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the output of Pulumi.")] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait until all jobs are Ready.", min=0)] = 120,
    policies: PoliciesOption = True,
) -> None:
    """Create or update a stack and show its jobs.

    On stack local, start the control plane of the rehearsal first.
    """
    session = Session(stack, output.say)
    with locked(session), prepared(session, config or ()):
        pack = findings.arguments(session.root, enabled=policies)
        if preview and not yes:
            if preview_report.run(session, ["preview", *pack], None):
                raise typer.Exit(1)
            typer.confirm("Apply these changes?", abort=True, err=True)
        elif pack and findings.needs_preview(session.configuration()):
            _check_rules(session, pack)
        if verbose:
            if preview_report.run(session, ["up", "--yes", "--skip-preview", *pack], None):
                raise typer.Exit(1)
        else:
            _update(session, "up", pack)
        incomplete = status.show_roles(session)
        rows, ready = asyncio.run(jobs.table(*kubeconfig_of(session), wait=wait))
        status.show_jobs(rows)
    if incomplete or not ready:
        problem = "Not all jobs are Ready" if not ready else "Objects are missing"
        raise UserError(f"{problem}: see the messages above and `inferstack status`.")


def preview(
    stack: StackOption = "local",
    config: ConfigOption = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write changes, findings and cost to this JSON file.")
    ] = None,
    policies: PoliciesOption = True,
) -> None:
    """Show the changes that `up` would make and the rules they break."""
    session = Session(stack, output.say)
    with locked(session), prepared(session, config or ()):
        pack = findings.arguments(session.root, enabled=policies)
        code = preview_report.run(session, ["preview", "--diff", *pack], report)
    if code:
        raise typer.Exit(code)


def down(stack: StackOption = "local") -> None:
    """Destroy a stack and remove it; stop the rehearsal.

    The data and certificates of the rehearsal are removed as well.
    """
    session = Session(stack, output.say)
    control_plane = control_plane_of(session.configuration(), session.state)
    if not session.state.exists() or not (control_plane.exists() or session.exists()):
        output.say(f"nothing to take down: {session.state} has neither a control plane nor the stack {stack}")
        return
    with locked(session):
        _destroy(session)
        session.remove()
        control_plane.remove(output.say)


def destroy(stack: StackOption = "local", yes: YesOption = False) -> None:
    """Delete all objects of a stack; the rehearsal keeps running."""
    session = Session(stack, output.say)
    if not yes:
        typer.confirm(f"Delete all objects of the stack {stack}?", abort=True, err=True)
    with locked(session):
        _destroy(session)


def _check_rules(session: Session, pack: Sequence[str]) -> None:
    """Preview the stack and refuse to change anything where a mandatory rule is broken.

    The engine evaluates rules on a whole stack only at the end of an update.

    Args:
        session: of the stack.
        pack: options that have the engine run the policy pack.

    Raises:
        UserError: a mandatory rule is broken, or the preview failed.
    """
    with event_log(session.state, "preview") as log:
        completed = session.quietly(["preview", *pack, "--event-log", str(log)])
        events = read(log)
    if completed.returncode:
        report = preview_report.make_report(session.stack, events)
        if findings.show_mandatory(report.findings):
            raise UserError(f"The stack {session.stack} breaks mandatory rules: nothing was changed.")
        details = "\n".join(report.errors) or completed.stderr.strip() or completed.stdout.strip()
        raise UserError(f"pulumi preview failed, nothing was changed:\n{details}")


def _update(session: Session, verb: str, options: Sequence[str] = ()) -> None:
    """Run the engine and report its progress.

    Raises:
        UserError: the engine failed; the message holds its errors.
    """
    progress = Progress(output.say)
    results: list[findings.Finding] = []

    def take(event: dict[str, Any]) -> None:
        progress.take(event)
        results.extend(findings.of_events([event]))

    result = session.update(verb, take, options)
    findings.warn(results)
    if result.code:
        broken = findings.show_mandatory(results)
        details = "\n".join(progress.errors) or ("The stack breaks rules." if broken else tail(result.log, 20))
        raise UserError(
            f"pulumi {verb} failed ({progress.summary(failed=True)}):\n{details}\nSee {result.log} for its output."
        )
    output.say(progress.summary())


def _destroy(session: Session) -> None:
    """Delete all objects of the stack and check that they are gone.

    Raises:
        UserError: objects remain; the message names them.
    """
    with prepared(session):
        owned = session.objects()
        if not owned:
            output.say(f"the stack {session.stack} has no objects")
        _update(session, "destroy")
        # The objects of a cluster that the stack itself made are gone with the cluster.
        checked = owned if region_of(session) is None else []
        left = asyncio.run(jobs.still_there(*kubeconfig_of(session), objects=checked)) if checked else []
    if left:
        raise UserError(f"{len(left)} objects remain: {', '.join(left[:10])}; inspect them with kubectl.")
