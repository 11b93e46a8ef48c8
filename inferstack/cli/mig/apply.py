"""``inferstack mig apply``: create a MigRollout, which the operator carries out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from inferstack.api import MigRollout, Step, constants
from inferstack.apimachinery.objects import Object
from inferstack.cli import output
from inferstack.cli.cluster import FIELD_MANAGER
from inferstack.cli.mig.rollouts import KIND, follow_rollout, run
from inferstack.cli.mig.targets import read_targets
from inferstack.cli.options import ContextOption, KubeconfigOption, YesOption
from inferstack.controllers.mig.cluster_state import ClusterState
from inferstack.controllers.mig.eligibility import check_eligibility
from inferstack.controllers.mig.informers import snapshot
from inferstack.errors import UserError
from inferstack.k8s import KubeClient

Row = dict[str, Any]


def apply(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="NODE=LAYOUT | FILE...",
            help="Nodes in order: pairs, or output of `inferstack mig plan` (labels.yaml, plan.yaml or the folder).",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the MigRollout (default: generated).")] = None,
    max_unavailable: Annotated[int, typer.Option(help="Maximum number of cordoned nodes.")] = 1,
    max_failed: Annotated[int, typer.Option(help="Failed nodes after which the rollout stops.")] = 0,
    window: Annotated[
        list[str] | None,
        typer.Option(help='Start window: "Sat,Sun 22:00 240" (days, UTC, minutes); repeatable.'),
    ] = None,
    drain_timeout: Annotated[int, typer.Option(help="Seconds to drain a node.")] = 900,
    state_timeout: Annotated[int, typer.Option(help="Seconds to wait for the MIG manager.")] = 600,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the rollout until it ends.")] = True,
    yes: YesOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Roll out MIG layouts node by node.

    Creates a MigRollout, which the operator carries out within the pods' disruption budgets. Exits with status 1 unless
    all nodes get their layout. Ctrl-C stops following the rollout, not the rollout itself.
    """
    desired = read_targets(targets)
    chosen = name or f"mig-{secrets.token_hex(4)}"
    spec: Object = {
        "maxUnavailableNodes": max_unavailable,
        "maxFailedNodes": max_failed,
        "drainTimeoutSeconds": drain_timeout,
        "stateTimeoutSeconds": state_timeout,
    }
    if window:
        spec["windows"] = [parse_window(text) for text in window]
    manifest = make_rollout(chosen, desired, spec)

    async def prepare(kube: KubeClient) -> None:
        await kube.resource(*KIND)
        state = await snapshot(kube)
        if state.settings is None:
            raise UserError(f"No node can be reconfigured: {state.settings_problem}.")
        rows = preview(state, desired, chosen)
        output.emit(rows)
        impossible = [row for row in rows if row["what"].startswith(_STEPS[Step.FAILED])]
        if impossible:
            raise UserError(
                f"{len(impossible)} of {len(rows)} nodes cannot be reconfigured; "
                f"{impossible[0]['node']}: {impossible[0]['what']}."
            )

    async def create(kube: KubeClient) -> None:
        await kube.create(manifest, field_manager=FIELD_MANAGER)

    run(prepare, kubeconfig, context)
    if not yes:
        typer.confirm(f"Reconfigure {len(desired)} nodes?", abort=True, err=True)
    run(create, kubeconfig, context)
    output.say(f"created MigRollout {chosen}; inferstack mig rollouts lists it")
    if wait:
        follow_rollout(chosen, kubeconfig, context)


def make_rollout(name: str, desired: Mapping[str, str], spec: Mapping[str, Any]) -> Object:
    """Return a valid MigRollout.

    Raises:
        UserError: naming the field at fault.
    """
    nodes = [{"name": node, "layout": layout} for node, layout in desired.items()]
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


def preview(state: ClusterState, desired: Mapping[str, str], name: str) -> list[Row]:
    """Return a row for each node: its present and desired layout, the pods to evict and the first step."""
    rows = []
    for node, layout in desired.items():
        eligibility = check_eligibility(
            name, MigRollout.model_validate(make_rollout(name, {node: layout}, {})).spec.nodes[0], state, {}, 1e9
        )
        current = state.nodes.get(node)
        rows.append(
            {
                "node": node,
                "now": (current.layout or "-") if current else "-",
                "wanted": layout,
                "pods": len(state.pods.get(node, ())),
                "what": _STEPS.get(eligibility.step, eligibility.step.value)
                + (f": {eligibility.message}" if eligibility.message else ""),
            }
        )
    return rows


_STEPS = {
    Step.CORDONING: "will be reconfigured",
    Step.DONE: "up to date",
    Step.BLOCKED: "blocked",
    Step.WAITING: "waiting",
    Step.FAILED: "not possible",
}
