"""``inferstack mig rollouts``, ``follow``, ``pause``, ``resume`` and ``abort``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from inferstack.api import MigRolloutStatus, NodeStatus, Phase, Step, constants
from inferstack.apimachinery.objects import Object
from inferstack.cli import cluster, output
from inferstack.cli.cluster import FIELD_MANAGER
from inferstack.cli.options import ContextOption, KubeconfigOption
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.k8s import KubeClient, UnknownKindError

Row = dict[str, Any]
_Result = TypeVar("_Result")
KIND = (constants.API_VERSION, constants.ROLLOUT_KIND)

RolloutName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the MigRollout.")]


def rollouts(
    kubeconfig: KubeconfigOption = None, context: ContextOption = None, form: FormatOption = Format.TABLE
) -> None:
    """List rollouts and their progress."""

    async def read(kube: KubeClient) -> list[Object]:
        return list((await kube.list(*KIND))["items"])

    items = sorted(run(read, kubeconfig, context), key=lambda rollout: rollout["metadata"]["creationTimestamp"])
    output.emit([make_row(rollout) for rollout in items], form)
    if not items:
        output.say("There are no rollouts.")


def follow(name: RolloutName, kubeconfig: KubeconfigOption = None, context: ContextOption = None) -> None:
    """Follow a rollout until it ends.

    Exits with status 1 unless all nodes get their layout.
    """
    follow_rollout(name, kubeconfig, context)


def pause(name: RolloutName, kubeconfig: KubeconfigOption = None, context: ContextOption = None) -> None:
    """Pause a rollout; nodes in progress are finished."""
    _edit(name, {"paused": True}, kubeconfig, context)
    output.say(f"{name} is paused; inferstack mig resume {name} resumes it.")


def resume(name: RolloutName, kubeconfig: KubeconfigOption = None, context: ContextOption = None) -> None:
    """Resume a paused rollout."""
    _edit(name, {"paused": False}, kubeconfig, context)
    output.say(f"{name} is resumed.")


def abort(name: RolloutName, kubeconfig: KubeconfigOption = None, context: ContextOption = None) -> None:
    """Abort a rollout; nodes already being cut are finished.

    Nodes whose GPUs are still untouched are released.
    """
    _edit(name, {"aborted": True}, kubeconfig, context)
    output.say(f"{name} is being aborted; inferstack mig follow {name} shows its progress.")


def make_row(rollout: Object) -> Row:
    """Return the row of a rollout."""
    status = MigRolloutStatus.model_validate(rollout.get("status") or {})
    return {
        "rollout": rollout["metadata"]["name"],
        "phase": status.phase.value,
        "done": status.done or f"0/{len(rollout['spec']['nodes'])}",
        "failed": status.failed or 0,
        "nodes": status.current or "-",
        "message": status.message,
    }


def changes(before: MigRolloutStatus | None, after: MigRolloutStatus) -> list[str]:
    """Return a line for each node whose step changed, and for a change of the phase."""
    earlier = {record.name: record for record in (before.nodes if before else None) or ()}
    lines = [_line(record) for record in after.nodes or () if _step_changed(earlier.get(record.name), record)]
    if before is None or before.phase is not after.phase:
        lines.append(f"{after.phase.value}: {after.message}" if after.message else after.phase.value)
    return lines


def follow_rollout(name: str, kubeconfig: Path | None, context: str | None) -> None:
    """Print the changes of a rollout until it ends.

    Raises:
        UserError: it does not exist, was deleted, or not all nodes got their layout.
    """

    async def follow(kube: KubeClient) -> MigRolloutStatus:
        fields = f"metadata.name={name}"
        before: MigRolloutStatus | None = None
        while True:
            listing = await kube.list(*KIND, fields=fields)
            if not listing["items"]:
                raise _missing(name)
            watch = kube.watch(*KIND, fields=fields, since=listing["metadata"]["resourceVersion"])
            async for change, rollout in _chain([("ADDED", listing["items"][0])], watch):
                if change == "DELETED":
                    raise UserError(f"{name} was deleted before it ended; the operator releases its nodes.")
                if change == "BOOKMARK" or not rollout.get("status"):
                    continue
                status = MigRolloutStatus.model_validate(rollout["status"])
                for line in changes(before, status):
                    output.say(line)
                if status.phase.final:
                    return status
                before = status

    try:
        status = run(follow, kubeconfig, context)
    except KeyboardInterrupt:
        output.say(
            f"{name} continues: follow it with inferstack mig follow {name}, abort it with inferstack mig abort {name}."
        )
        raise typer.Exit(130) from None
    if status.phase is not Phase.SUCCEEDED or status.failed:
        raise UserError(f"{name}: {status.message}; {status.done} nodes have their layout.")


def run(
    work: Callable[[KubeClient], Coroutine[Any, Any, _Result]], kubeconfig: Path | None, context: str | None
) -> _Result:
    """Run a coroutine that reads or writes MigRollouts.

    Raises:
        UserError: the cluster does not serve them.
    """
    try:
        return cluster.run(work, kubeconfig, context)
    except UnknownKindError as error:
        raise UserError(
            "The cluster does not serve MigRollouts: bring the platform up first, or apply the output of "
            "`inferstack crd`."
        ) from error


def _edit(name: str, spec: Object, kubeconfig: Path | None, context: str | None) -> None:
    async def edit(kube: KubeClient) -> None:
        rollout = await kube.find(*KIND, name)
        if rollout is None:
            raise _missing(name)
        status = MigRolloutStatus.model_validate(rollout.get("status") or {})
        if status.phase.final:
            raise UserError(f"{name} has already ended: {status.phase.value}.")
        await kube.patch(*KIND, name, {"spec": spec}, field_manager=FIELD_MANAGER)

    run(edit, kubeconfig, context)


def _missing(name: str) -> UserError:
    return UserError(f"There is no rollout {name!r}; inferstack mig rollouts lists them.")


def _step_changed(before: NodeStatus | None, after: NodeStatus) -> bool:
    if after.step is Step.WAITING:
        return False
    return before is None or before.step is not after.step


def _line(record: NodeStatus) -> str:
    return f"{record.name}: {record.step.value}" + (f" ({record.message})" if record.message else "")


async def _chain(
    first: list[tuple[str, Object]], rest: AsyncIterator[tuple[str, Object]]
) -> AsyncIterator[tuple[str, Object]]:
    for event in first:
        yield event
    async for event in rest:
        yield event
