"""Whether nodes are cut as they should be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.cluster import connected
from inferstack.cli.mig.targets import read_wanted
from inferstack.cli.output import Format, FormatOption
from inferstack.controllers.mig.cluster_state import ClusterState
from inferstack.controllers.mig.devices import allocatable_devices, expected_devices, format_devices, matches
from inferstack.controllers.mig.informers import snapshot
from inferstack.errors import UserError
from inferstack.mig.errors import LayoutError

Row = dict[str, Any]

Kubeconfig = Annotated[Path | None, typer.Option(help="The cluster; by default kubectl's.")]
Context = Annotated[str | None, typer.Option(help="A context of the kubeconfig.")]


def drift(state: ClusterState, wanted: Mapping[str, str]) -> list[Row]:
    """Return each difference between nodes and what they should be: node, what, wanted, found.

    Args:
        state: as seen, with settings.
        wanted: layout by node.

    Raises:
        UserError: the GPU operator's settings are not known.
    """
    if state.settings is None:
        raise UserError(f"Nothing can be told: {state.settings_problem}.")
    rows: list[Row] = []
    for name, layout in wanted.items():
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


def _row(node: str, what: str, wanted: str, found: str) -> Row:
    return {"node": node, "what": what, "wanted": wanted, "found": found}


def assert_command(
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NODE=LAYOUT | FILE]...",
            help="What should be: pairs, or files of `inferstack mig plan`; by default what the nodes' labels ask for.",
        ),
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Compare layouts, MIG states and allocatable devices of nodes with what they should be; exit code 1 on drift."""
    wanted = read_wanted(given or [])

    async def look() -> ClusterState:
        async with connected(kubeconfig, context) as kube:
            return await snapshot(kube)

    state = asyncio.run(look())
    if not given:
        wanted = {name: node.layout for name, node in sorted(state.nodes.items()) if node.layout}
    rows = drift(state, wanted)
    output.emit(rows, form)
    drifted = len({row["node"] for row in rows})
    output.say(
        f"{drifted} of {len(wanted)} nodes drifted." if rows else f"All {len(wanted)} nodes are as they should be."
    )
    if rows:
        raise typer.Exit(1)
