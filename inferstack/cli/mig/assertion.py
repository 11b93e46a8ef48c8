"""``inferstack mig assert``: drift of MIG layouts from the desired ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.cluster import run
from inferstack.cli.mig.targets import read_targets
from inferstack.cli.options import ContextOption, KubeconfigOption
from inferstack.cli.output import Format, FormatOption
from inferstack.controllers.mig.cluster_state import ClusterState
from inferstack.controllers.mig.devices import allocatable_devices, expected_devices, format_devices, matches
from inferstack.controllers.mig.informers import snapshot
from inferstack.errors import UserError
from inferstack.mig.errors import LayoutError

Row = dict[str, Any]


def drift(state: ClusterState, desired: Mapping[str, str]) -> list[Row]:
    """Return each difference between nodes and their desired layouts.

    Args:
        state: the state of the cluster.
        desired: layout by node.

    Raises:
        UserError: the settings of the GPU operator cannot be read.
    """
    if state.settings is None:
        raise UserError(f"The nodes cannot be compared: {state.settings_problem}.")
    rows: list[Row] = []
    for name, layout in desired.items():
        node = state.nodes.get(name)
        if node is None:
            rows.append(_row(name, "node", "there", "missing"))
            continue
        if node.layout != layout:
            rows.append(_row(name, "layout", layout, node.layout or "none"))
        if node.state != "success":
            rows.append(_row(name, "state", "success", node.state or "none"))
        try:
            devices = expected_devices(node.labels, state.settings, layout, node.layout or state.settings.default)
        except LayoutError as error:
            rows.append(_row(name, "devices", f"those of {layout}", str(error)))
            continue
        if not matches(devices, node.labels, node.allocatable):
            rows.append(
                _row(name, "devices", format_devices(devices), format_devices(allocatable_devices(node.allocatable)))
            )
    return rows


def _row(node: str, what: str, desired: str, actual: str) -> Row:
    return {"node": node, "what": what, "wanted": desired, "found": actual}


def assert_layouts(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NODE=LAYOUT | FILE]...",
            help="Desired layouts: pairs, or files of `inferstack mig plan` (default: the labels of the nodes).",
        ),
    ] = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Compare the MIG layouts of nodes with the desired ones.

    Also compares their MIG states and allocatable devices. Exits with status 1 on drift.
    """
    desired = read_targets(targets or [])
    state = run(snapshot, kubeconfig, context)
    if not targets:
        desired = {name: node.layout for name, node in sorted(state.nodes.items()) if node.layout}
    rows = drift(state, desired)
    output.emit(rows, form)
    drifted = len({row["node"] for row in rows})
    output.say(f"{drifted} of {len(desired)} nodes drifted." if rows else f"All {len(desired)} nodes match.")
    if rows:
        raise typer.Exit(1)
