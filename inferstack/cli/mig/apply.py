"""Have the operator reconfigure nodes: make MigRollouts, follow them, pause and abort them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from inferstack.api import MigRollout, MigRolloutStatus, NodeStatus, Phase, Step, constants
from inferstack.apimachinery.objects import Object
from inferstack.cli import output
from inferstack.cli.cluster import connected
from inferstack.cli.mig.assertion import Context, Kubeconfig
from inferstack.cli.mig.targets import read_wanted
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.rehearsal.node import FIELD_MANAGER
from inferstack.controllers.mig.cluster_state import ClusterState
from inferstack.controllers.mig.eligibility import check_eligibility
from inferstack.controllers.mig.informers import snapshot
from inferstack.errors import UserError
from inferstack.k8s import KubeClient, UnknownKindError

Row = dict[str, Any]
_Result = TypeVar("_Result")
_KIND = (constants.API_VERSION, constants.ROLLOUT_KIND)
_NOT_SERVED = "The cluster serves no MigRollouts: bring the platform up first, or apply what `inferstack crd` prints."

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the MigRollout.")]


# --- what is made and shown


def make_rollout(name: str, wanted: Mapping[str, str], spec: Mapping[str, Any]) -> Object:
    """Return the MigRollout, checked against its model.

    Raises:
        UserError: naming the field at fault.
    """
    nodes = [{"name": node, "layout": layout} for node, layout in wanted.items()]
    manifest = {
        "apiVersion": constants.API_VERSION,
        "kind": constants.ROLLOUT_KIND,
        "metadata": {"name": name},
        "spec": {"nodes": nodes, **spec},
    }
    try:
        MigRollout.model_validate(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: {first['msg'].removeprefix('Value error, ')}.") from error
    return manifest


def parse_window(text: str) -> Object:
    """Return a window of the form ``Sat,Sun 22:00 240``: days, start in UTC, minutes.

    Raises:
        UserError: it has another form; the model checks the rest.
    """
    days, _, rest = text.partition(" ")
    start, _, minutes = rest.strip().partition(" ")
    if not minutes.strip().isdecimal():
        raise UserError(f'--window {text!r}: not of the form "Sat,Sun 22:00 240" (days, start in UTC, minutes).')
    return {"days": days.split(","), "start": start, "durationMinutes": int(minutes)}


def preview(state: ClusterState, wanted: Mapping[str, str], name: str) -> list[Row]:
    """Return a row for each node: what it is, becomes, how many pods must leave, and what will happen first."""
    rows = []
    for node, layout in wanted.items():
        verdict = check_eligibility(
            name, MigRollout.model_validate(make_rollout(name, {node: layout}, {})).spec.nodes[0], state, {}, 1e9
        )
        found = state.nodes.get(node)
        rows.append(
            {
                "node": node,
                "now": (found.layout or "-") if found else "-",
                "wanted": layout,
                "pods": len(state.pods.get(node, ())),
                "what": _WORDS.get(verdict.step, verdict.step.value)
                + (f": {verdict.message}" if verdict.message else ""),
            }
        )
    return rows


_WORDS = {
    Step.CORDONING: "will be cut",
    Step.DONE: "nothing to do",
    Step.BLOCKED: "waits",
    Step.WAITING: "waits",
    Step.FAILED: "cannot be",
}


def changes(before: MigRolloutStatus | None, after: MigRolloutStatus) -> list[str]:
    """Return a sentence for each node whose step changed, and for another phase."""
    known = {record.name: record for record in (before.nodes if before else None) or ()}
    said = [_told(record) for record in after.nodes or () if _is_news(known.get(record.name), record)]
    if before is None or before.phase is not after.phase:
        said.append(f"{after.phase.value}: {after.message}" if after.message else after.phase.value)
    return said


def _is_news(before: NodeStatus | None, after: NodeStatus) -> bool:
    if after.step is Step.WAITING:
        return False
    return before is None or before.step is not after.step


def _told(record: NodeStatus) -> str:
    return f"{record.name}: {record.step.value}" + (f" ({record.message})" if record.message else "")


def make_row(rollout: Object) -> Row:
    """Return what the list tells of a rollout."""
    status = MigRolloutStatus.model_validate(rollout.get("status") or {})
    return {
        "rollout": rollout["metadata"]["name"],
        "phase": status.phase.value,
        "done": status.done or f"0/{len(rollout['spec']['nodes'])}",
        "failed": status.failed or 0,
        "nodes": status.current or "-",
        "message": status.message,
    }


# --- commands


def apply_command(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="NODE=LAYOUT | FILE...",
            help="Nodes in their order: pairs, or files of `inferstack mig plan` (labels.yaml, plan.yaml, its folder).",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Of the MigRollout; by default one is made up.")] = None,
    max_unavailable: Annotated[int, typer.Option(help="Nodes that may be cordoned at a time.")] = 1,
    max_failed: Annotated[int, typer.Option(help="Nodes that may fail before it stops.")] = 0,
    window: Annotated[
        list[str] | None, typer.Option(help='When nodes may be begun: "Sat,Sun 22:00 240" (UTC, minutes); repeatable.')
    ] = None,
    drain_timeout: Annotated[int, typer.Option(help="Seconds that the pods of a node may take to leave.")] = 900,
    state_timeout: Annotated[int, typer.Option(help="Seconds that the MIG manager may take.")] = 600,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Have the operator give nodes other MIG layouts, one after the other and within their pods' disruption budgets.

    Exit code 1 where not all nodes got theirs. Ctrl-C ends the following, not the rollout.
    """
    wanted = read_wanted(given)
    chosen = name or f"mig-{secrets.token_hex(4)}"
    spec: Object = {
        "maxUnavailableNodes": max_unavailable,
        "maxFailedNodes": max_failed,
        "drainTimeoutSeconds": drain_timeout,
        "stateTimeoutSeconds": state_timeout,
    }
    if window:
        spec["windows"] = [parse_window(text) for text in window]
    manifest = make_rollout(chosen, wanted, spec)

    async def prepare(kube: KubeClient) -> None:
        await kube.resource(*_KIND)
        state = await snapshot(kube)
        if state.settings is None:
            raise UserError(f"Nothing can be reconfigured: {state.settings_problem}.")
        rows = preview(state, wanted, chosen)
        output.emit(rows)
        wrong = [row for row in rows if row["what"].startswith(_WORDS[Step.FAILED])]
        if wrong:
            raise UserError(
                f"{len(wrong)} of {len(rows)} nodes cannot be reconfigured, {wrong[0]['node']}: {wrong[0]['what']}."
            )

    async def create(kube: KubeClient) -> None:
        await kube.create(manifest, field_manager=FIELD_MANAGER)

    _run(kubeconfig, context, prepare)
    if not yes:
        typer.confirm(f"Reconfigure {len(wanted)} nodes?", abort=True, err=True)
    _run(kubeconfig, context, create)
    output.say(f"MigRollout {chosen} is made; inferstack mig rollouts lists it.")
    if wait:
        _follow(kubeconfig, context, chosen)


def follow_command(name: Name, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Follow a rollout to its end; exit code 1 where not all nodes got their layout."""
    _follow(kubeconfig, context, name)


def rollouts_command(kubeconfig: Kubeconfig = None, context: Context = None, form: FormatOption = Format.TABLE) -> None:
    """List rollouts and how far they are."""

    async def read(kube: KubeClient) -> list[Object]:
        return list((await kube.list(*_KIND))["items"])

    found = sorted(_run(kubeconfig, context, read), key=lambda one: one["metadata"]["creationTimestamp"])
    output.emit([make_row(one) for one in found], form)
    if not found:
        output.say("There are no rollouts.")


def pause_command(name: Name, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Begin no other node; nodes that were begun are finished."""
    _edit(kubeconfig, context, name, {"paused": True})
    output.say(f"{name} begins no other node; inferstack mig resume {name} goes on.")


def resume_command(name: Name, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Go on with a paused rollout."""
    _edit(kubeconfig, context, name, {"paused": False})
    output.say(f"{name} goes on.")


def abort_command(name: Name, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """End a rollout: nodes whose GPUs are not touched yet are given back, others are finished first."""
    _edit(kubeconfig, context, name, {"aborted": True})
    output.say(f"{name} ends; inferstack mig follow {name} shows when.")


# --- helpers


def _run(
    kubeconfig: Path | None, context: str | None, work: Callable[[KubeClient], Coroutine[Any, Any, _Result]]
) -> _Result:
    async def connect() -> _Result:
        async with connected(kubeconfig, context) as kube:
            try:
                return await work(kube)
            except UnknownKindError as error:
                raise UserError(_NOT_SERVED) from error

    return asyncio.run(connect())


def _edit(kubeconfig: Path | None, context: str | None, name: str, spec: Object) -> None:
    async def edit(kube: KubeClient) -> None:
        if (found := await kube.find(*_KIND, name)) is None:
            raise UserError(f"There is no rollout {name!r}; inferstack mig rollouts lists them.")
        status = MigRolloutStatus.model_validate(found.get("status") or {})
        if status.phase.final:
            raise UserError(f"{name} has ended: {status.phase.value}.")
        await kube.patch(*_KIND, name, {"spec": spec}, field_manager=FIELD_MANAGER)

    _run(kubeconfig, context, edit)


def _follow(kubeconfig: Path | None, context: str | None, name: str) -> None:
    async def follow(kube: KubeClient) -> MigRolloutStatus:
        fields = f"metadata.name={name}"
        before: MigRolloutStatus | None = None
        while True:
            listing = await kube.list(*_KIND, fields=fields)
            if not listing["items"]:
                raise UserError(f"There is no rollout {name!r}; inferstack mig rollouts lists them.")
            seen = [("ADDED", listing["items"][0])]
            watch = kube.watch(*_KIND, fields=fields, since=listing["metadata"]["resourceVersion"])
            async for change, obj in _chain(seen, watch):
                if change == "DELETED":
                    raise UserError(f"{name} was deleted before its end; the operator gives its nodes back.")
                if change == "BOOKMARK" or not obj.get("status"):
                    continue
                status = MigRolloutStatus.model_validate(obj["status"])
                for line in changes(before, status):
                    output.say(line)
                if status.phase.final:
                    return status
                before = status

    try:
        status = _run(kubeconfig, context, follow)
    except KeyboardInterrupt:
        output.say(f"{name} goes on: inferstack mig follow {name} shows how, inferstack mig abort {name} ends it.")
        raise typer.Exit(130) from None
    if status.phase is not Phase.SUCCEEDED or status.failed:
        raise UserError(f"{name}: {status.message}; {status.done} nodes have their layout.")


async def _chain(first: list[tuple[str, Object]], rest: Any) -> Any:
    for one in first:
        yield one
    async for one in rest:
        yield one
