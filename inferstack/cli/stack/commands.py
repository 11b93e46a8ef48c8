"""Bring a stack up, look at it and take it down."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack import findings, jobs, preview_report, roles
from inferstack.cli.stack.configuration import check_settings
from inferstack.cli.stack.place import Place, is_local, place_of
from inferstack.cli.stack.progress import Progress
from inferstack.cli.stack.session import Session, only_one
from inferstack.errors import UserError
from inferstack.logs import tail
from inferstack.toolchain import binaries, crds

StackOption = Annotated[str, typer.Option("--stack", "-s", help="Name of the stack: stacks/Pulumi.NAME.yaml.")]
_NEED_CLUSTER = frozenset({"up", "update", "preview", "destroy", "refresh", "import", "watch"})
"""Commands of pulumi that ask the cluster; the others do without."""
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", "-c", help="KEY=VALUE for this run, such as inferstack:gpu.mig.strategy=single."),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    for command in (up, preview, down, destroy, status, outputs, env):
        app.command(command.__name__)(command)
    app.command("roles")(list_roles)
    app.command("pulumi", context_settings={"ignore_unknown_options": True, "help_option_names": []})(pulumi)


def up(
    stack: StackOption = "local",
    config: ConfigOption = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show what would change, and ask.")] = False,
    yes: YesOption = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="The engine's own output.")] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for all jobs to be Ready.", min=0)] = 120,
    policies: findings.PoliciesOption = True,
) -> None:
    """Bring a stack up and show its jobs. In the rehearsal this starts the control plane first."""
    session = Session(stack, output.say)
    with interruptible(), only_one(session.state, output.say), started(session, config):
        held = findings.arguments(session.root, wanted=policies)
        if preview and not yes:
            if preview_report.run(session, ["preview", *held], None):
                raise typer.Exit(1)
            typer.confirm("Do this?", abort=True, err=True)
        elif held and findings.judged_at_the_end(session.configuration()):
            _judge(session, held)
        if verbose:
            if preview_report.run(session, ["up", "--yes", "--skip-preview", *held], None):
                raise typer.Exit(1)
        else:
            _update(session, "up", held)
        lacking = _show_roles(session)
        rows, ready = asyncio.run(jobs.table(*kubeconfig_of(session), wait=wait))
        _show(rows)
    if lacking or not ready:
        what = "jobs are Ready" if not ready else "objects are there"
        raise UserError(f"Not all {what}: see the messages above, and `inferstack status`.")


def preview(
    stack: StackOption = "local",
    config: ConfigOption = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write changes, findings and cost to this file as well, as JSON.")
    ] = None,
    policies: findings.PoliciesOption = True,
) -> None:
    """Show what an up would change, and what of it breaks a rule."""
    session = Session(stack, output.say)
    with interruptible(), only_one(session.state, output.say), started(session, config):
        held = findings.arguments(session.root, wanted=policies)
        code = preview_report.run(session, ["preview", "--diff", *held], report)
    if code:
        raise typer.Exit(code)


def down(stack: StackOption = "local") -> None:
    """Destroy a stack and forget it; the rehearsal is stopped, its data and certificates are removed."""
    session = Session(stack, output.say)
    if not session.state.exists() or not (_place(session).exists() or session.exists()):
        output.say(f"nothing to take down: {session.state} knows neither a control plane nor the stack {stack}")
        return
    with interruptible(), only_one(session.state, output.say):
        _destroy(session)
        session.remove()
        _place(session).remove(output.say)


def destroy(
    stack: StackOption = "local",
    yes: YesOption = False,
) -> None:
    """Delete all objects of a stack; the rehearsal keeps running."""
    session = Session(stack, output.say)
    if not yes:
        typer.confirm(f"Delete all objects of the stack {stack}?", abort=True, err=True)
    with interruptible(), only_one(session.state, output.say):
        _destroy(session)


def status(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """Show all InferenceJobs, as the API server has them."""
    rows, ready = asyncio.run(jobs.table(*kubeconfig_of(Session(stack, output.say))))
    _show(rows, form)
    if not ready:
        raise typer.Exit(1)


def list_roles(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """Show the roles of a stack: their add-ons, and their objects as the API server has them."""
    session = Session(stack, output.say)
    if not session.exists():
        raise UserError(f"The stack {stack} has never been up here: `inferstack up -s {stack}` brings it up.")
    if _show_roles(session, form):
        raise typer.Exit(1)


def outputs(
    stack: StackOption = "local",
    form: FormatOption = Format.TABLE,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Show secret values.")] = False,
) -> None:
    """Show a stack's outputs."""
    content = Session(stack, output.say).outputs(secrets=show_secrets)
    output.emit([{"name": name, "value": value} for name, value in content.items()], form)


def pulumi(
    arguments: Annotated[list[str], typer.Argument(help="Of pulumi: preview --diff, stack export, config set ...")],
    stack: StackOption = "local",
) -> None:
    """Run any pulumi command on a stack, such as: inferstack pulumi -s existing refresh --preview-only."""
    session = Session(stack, output.say)
    with interruptible(), only_one(session.state, output.say), contextlib.ExitStack() as contexts:
        # `pulumi stack import` puts a state back, `pulumi import` reads the cluster.
        if "stack" in arguments[:1] or _NEED_CLUSTER.isdisjoint(arguments):
            session.engine.prepare()
            session.select()
        else:
            contexts.enter_context(started(session))
        code = session.pulumi(arguments)
        session.keep_configuration()
    if code:
        raise typer.Exit(code)


def env(stack: StackOption = "local") -> None:
    """Print the variables under which kubectl, pulumi and inferstack itself are found and work on a stack.

    Use: eval "$(inferstack env)". For what writes, take `inferstack pulumi`: plain pulumi leaves the salt of its
    encryption in the stack's file.
    """
    session = Session(stack, output.say)
    variables = dict(session.engine.environment())
    kubectl = binaries.locate("kubectl")
    ours = [str(Path(sys.executable).parent), *([str(kubectl.parent)] if kubectl else [])]
    variables["PATH"] = os.pathsep.join([*ours, variables["PATH"]])
    if kubeconfig := kubeconfig_of(session)[0]:
        variables["KUBECONFIG"] = str(kubeconfig)
    for name, value in sorted(variables.items()):
        if os.environ.get(name) != value:
            typer.echo(f"export {name}={shlex.quote(value)}")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Treat SIGTERM as an interrupt, so that the engine ends what it has begun whoever stops us."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_roles(session: Session, form: Format = Format.TABLE) -> bool:
    """Print the table of roles and tell whether anything is not there."""
    resources = session.resources()
    there, markers = asyncio.run(roles.read(*kubeconfig_of(session), resources=resources))
    rows = roles.make_rows(resources, there, markers)
    lacking = any(row["message"] for row in rows)
    if not lacking:
        rows = [{key: value for key, value in row.items() if key != "message"} for row in rows]
    output.emit(rows, form)
    return lacking


def _show(rows: list[dict[str, Any]], form: Format = Format.TABLE) -> None:
    output.emit(rows, form)
    if not rows:
        output.say("There are no InferenceJobs.")


def _place(session: Session) -> Place:
    return place_of(session.configuration(), session.state)


@contextlib.contextmanager
def started(session: Session, config: list[str] | None = None) -> Iterator[None]:
    """Have everything in place that the engine needs, and keep the rehearsal up while it works.

    Args:
        session: of the stack.
        config: values of ``--config``.
    """
    _start(session, config)
    with _place(session).keep_up(output.say):
        yield


def _start(session: Session, config: list[str] | None = None) -> None:
    """Have everything in place that the engine needs: tools, the stack and, where it is local, CRDs and the rehearsal.

    Args:
        session: of the stack.
        config: values of ``--config``.
    """
    check_settings(config or [])
    place = _place(session)
    binaries.ensure(["pulumi", "kubectl", "helm", *place.tools()], report=output.say)
    if is_local(session.configuration()):
        crds.ensure(crds.sources(), output.say)
    # The engine's own start takes a second or two of one core: the control plane uses the other meanwhile.
    with ThreadPoolExecutor(2) as pool:
        plane = pool.submit(place.start, output.say)
        session.engine.prepare()
        session.select()
        session.configure(config or [])
        plane.result()


def _judge(session: Session, held: list[str]) -> None:
    """Look for what rules stop before anything is changed: of a whole stack, an update by itself asks at its end.

    Args:
        session: of the stack.
        held: options of the engine that have it run the rules.

    Raises:
        UserError: something is found, or the preview failed.
    """
    log = preview_report.event_log(session, "preview")
    done = session.quietly(["preview", *held, "--event-log", str(log)])
    if done.returncode:
        told = preview_report.make_report(session.stack, preview_report.read(log))
        if findings.show_stops(told.findings):
            raise UserError(f"The stack {session.stack} breaks rules: nothing was changed.")
        said = "\n".join(told.errors) or done.stderr.strip() or done.stdout.strip()
        raise UserError(f"pulumi preview failed, nothing was changed:\n{said}")


def _update(session: Session, verb: str, more: Sequence[str] = ()) -> None:
    """Run the engine with progress for a person; ``more`` are its options.

    Raises:
        UserError: it failed; the message holds what the engine called errors.
    """
    progress = Progress(output.say)
    found: list[findings.Finding] = []

    def take(event: dict[str, Any]) -> None:
        progress.take(event)
        found.extend(findings.of_events([event]))

    result = session.update(verb, take, more)
    findings.warn(found)
    if result.code:
        stopped = findings.show_stops(found)
        told = "\n".join(progress.errors) or ("The stack breaks rules." if stopped else tail(result.log, 20))
        raise UserError(
            f"pulumi {verb} failed ({progress.summary(failed=True)}):\n{told}\nThe whole output is in {result.log}."
        )
    output.say(progress.summary())


def _destroy(session: Session) -> None:
    """Delete all objects of the stack and look that they are gone.

    Raises:
        UserError: something is left, with its kind and name.
    """
    with started(session):
        owned = session.objects()
        if not owned:
            output.say(f"the stack {session.stack} holds no object")
        _update(session, "destroy")
        # A cluster of the stack's own is gone with it, and there is nobody to ask.
        asked = owned if region_of(session) is None else []
        left = asyncio.run(jobs.still_there(*kubeconfig_of(session), objects=asked)) if asked else []
    if left:
        raise UserError(f"{len(left)} objects are left: {', '.join(left[:10])}. Look at them with kubectl.")


def kubeconfig_of(session: Session) -> tuple[Path | None, str | None]:
    """Return path and context of the cluster that the stack works on; None where kubectl's default holds.

    Raises:
        UserError: the stack is to make its cluster and has not yet.
    """
    if is_local(session.configuration()):
        return session.state / "kubeconfig", None
    if region_of(session):
        content = session.outputs(secrets=True).get("kubeconfigContent") if session.exists() else None
        if not content:
            raise UserError(
                f"The stack {session.stack} has no cluster yet: `inferstack up -s {session.stack}` makes it."
            )
        path = session.state / "stacks" / f"{session.stack}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(content)
        return path, None
    cluster = session.configuration().get("inferstack:cluster") or {}
    named = cluster.get("kubeconfig")
    return (Path(named).expanduser() if named else None), cluster.get("context")


def region_of(session: Session) -> str | None:
    """Return the AWS region of a stack that makes its own cluster there; None for others."""
    configuration = session.configuration()
    if configuration.get("inferstack:place") != "aws":
        return None
    return str(((configuration.get("inferstack:cluster") or {}).get("aws") or {}).get("region", ""))
