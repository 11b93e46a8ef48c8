"""``inferstack mig plan`` and ``diff``: which MIG instances the GPUs should carry, and how to get there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import yaml

from inferstack.api import constants
from inferstack.api.labels import JOB
from inferstack.cli import output
from inferstack.cli.cluster import connected
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.k8s import KubeClient
from inferstack.k8s.errors import UnknownKindError
from inferstack.mig.errors import MigError
from inferstack.mig.gpu_operator import DEFAULT_LAYOUTS, MIG_CONFIG, NAMESPACE, POLICY
from inferstack.mig.mig_parted import VERSION, dump_config, make_mig_parted_config, parse_config
from inferstack.mig.planner import Budget, Demand, Fleet, diff, plan
from inferstack.mig.planner.inputs import dump_fleet, parse_demands, parse_fleet
from inferstack.mig.planner.observe import Observed, observe
from inferstack.mig.planner.output import Output, make_output
from inferstack.mig.planner.report import Row, make_labels, make_report, make_transition

NOT_ALL = 3
"""Exit code where the plan stands and does not serve everything."""
_EVERY = 2.0
"""Seconds between two words on a plan that takes long."""
_SHOWN = 20
_FILES = ("config.yaml", "labels.yaml", "plan.yaml")
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""In C where there is one: the plan of a large fleet is long."""
_Result = TypeVar("_Result")

FleetOption = Annotated[Path | None, typer.Option("--fleet", help="YAML file with the fleet: docs/mig-planner.md.")]
DemandsOption = Annotated[Path | None, typer.Option("--demands", help="YAML file with what is wanted.")]
ClusterOption = Annotated[
    bool, typer.Option("--from-cluster", help="Read fleet and waiting pods from a cluster; --demands adds to these.")
]
KubeconfigOption = Annotated[Path | None, typer.Option(help="The cluster; by default kubectl's.")]
ContextOption = Annotated[str | None, typer.Option(help="A context of the kubeconfig.")]
MovesOption = Annotated[
    bool, typer.Option("--allow-moves", help="With --from-cluster: pods may be moved; else all are pinned.")
]
LayoutsOption = Annotated[
    Path | None, typer.Option("--layouts", help="The mig-parted file in use, of which equal layouts keep their names.")
]
StepsOption = Annotated[int, typer.Option("--steps", min=0, help="How long to search; the same on every machine.")]
SecondsOption = Annotated[
    float | None, typer.Option("--seconds", min=0.1, help="End the search then; the answer depends on the machine.")
]
_STEPS = 300_000


@dataclass(frozen=True)
class Given:
    """What a plan is made of."""

    fleet: Fleet
    demands: tuple[Demand, ...]
    layouts: str | None


def plan_command(
    fleet: FleetOption = None,
    demands: DemandsOption = None,
    from_cluster: ClusterOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    allow_moves: MovesOption = False,
    layouts: LayoutsOption = None,
    steps: StepsOption = _STEPS,
    seconds: SecondsOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for config.yaml (mig-parted), labels.yaml and plan.yaml.", file_okay=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files in --out.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Plan which MIG instances each GPU should carry, and say how far from the best the plan can be.

    Exit codes: 0 everything that is wanted is served; 3 the plan stands, but does not serve everything; 1 wrong input.
    """
    if out is not None and not force:
        _refuse_overwriting(out)
    given = _read(fleet, demands, from_cluster, kubeconfig, context, allow_moves, layouts)
    report, made = _plan(given, steps, seconds)
    if out is not None:
        _write(out, given, report, made)
    if form is Format.TABLE:
        _show(report)
    else:
        _dump(report, form)
    if any(row["served"] < row["wanted"] for row in report["priorities"]):
        raise typer.Exit(NOT_ALL)


def diff_command(
    fleet: FleetOption = None,
    demands: DemandsOption = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="YAML file with the fleet to get to, in place of a plan.")
    ] = None,
    from_cluster: ClusterOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    allow_moves: MovesOption = False,
    layouts: LayoutsOption = None,
    steps: StepsOption = _STEPS,
    seconds: SecondsOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the steps to a plan, or to another fleet, in their order, and the pods that no step touches.

    Exit codes: 0 the steps are shown, also where there are none; 1 wrong input.
    """
    if to is not None and demands is not None:
        raise UserError("--to: give either a fleet to get to or demands to plan for.")
    given = _read(fleet, demands, from_cluster, kubeconfig, context, allow_moves, layouts, needs_demands=to is None)
    if to is None:
        report, _ = _plan(given, steps, seconds)
    else:
        report = _between(given, _parse(to, parse_fleet))
    if form is Format.TABLE:
        _show_steps(report)
    else:
        _dump({key: report[key] for key in ("nodes", "steps", "podsParked", "neverInterrupted")}, form)


def _plan(given: Given, steps: int, seconds: float | None) -> tuple[Row, Output]:
    try:
        found = plan(given.fleet, given.demands, Budget(steps, _clock(seconds)))
        way = diff(given.fleet, found.fleet)
        made = make_output(given.fleet, found.fleet, given.layouts)
    except MigError as error:
        raise UserError(f"{error}.") from error
    return make_report(given.fleet, given.demands, found, way, made) | {"fleet": dump_fleet(found.fleet)}, made


def _between(given: Given, target: Fleet) -> Row:
    try:
        way = diff(given.fleet, replace(target, scope=given.fleet.scope))
        made = make_output(given.fleet, target, given.layouts)
    except MigError as error:
        raise UserError(f"--to: {error}.") from error
    return make_transition(way, made)


def _clock(seconds: float | None) -> Callable[[], bool]:
    """Return what ends a search in time, and tells that it goes on."""
    began = told = time.monotonic()

    def expired() -> bool:
        nonlocal told
        now = time.monotonic()
        if now - told >= _EVERY:
            told = now
            output.say(f"searching for {now - began:.0f} s")
        return seconds is not None and now - began >= seconds

    return expired


# --- what is read


def _read(
    fleet: Path | None,
    demands: Path | None,
    from_cluster: bool,
    kubeconfig: Path | None,
    context: str | None,
    moves: bool,
    layouts: Path | None,
    *,
    needs_demands: bool = True,
) -> Given:
    """Return what was given, all of it checked.

    Raises:
        UserError: naming the option or the key at fault.
    """
    if from_cluster == (fleet is not None):
        raise UserError("Give either --fleet FILE or --from-cluster.")
    if not from_cluster and (moves or kubeconfig or context):
        raise UserError("--allow-moves, --kubeconfig and --context go with --from-cluster; a file says it of each pod.")
    if from_cluster and layouts is not None:
        raise UserError("--layouts goes with --fleet: from a cluster the MIG manager's own configuration is read.")
    if not from_cluster and demands is None and needs_demands:
        raise UserError("--demands FILE: needed with --fleet, to know what is wanted.")
    extra = _parse(demands, parse_demands) if demands is not None else ()
    if fleet is not None:
        text = _text(layouts) if layouts is not None else None
        if text is not None:
            _checked(str(layouts), parse_config, text)
        return Given(_parse(fleet, parse_fleet), extra, text)
    seen, text = asyncio.run(_observe(kubeconfig, context, moves))
    for what, found in (("node", seen.skipped), ("pod", seen.ignored)):
        for name, why in _first(what, found):
            output.say(f"{what} {name} is left out: {why}")
    if moves:
        for name, why in _first("pinned pod", seen.pinned):
            output.say(f"pod {name} is not moved: {why}")
    if not seen.fleet.gpus:
        raise UserError("No node of the cluster can be planned; `inferstack node list` shows its nodes.")
    twice = {demand.name for demand in seen.demands} & {demand.name for demand in extra}
    if twice:
        raise UserError(f"--demands: {min(twice)} has waiting pods in the cluster already; choose another name.")
    return Given(seen.fleet, (*seen.demands, *extra), text)


def _first(what: str, found: Mapping[str, str]) -> list[tuple[str, str]]:
    if len(found) > _SHOWN:
        output.say(f"{len(found)} {what}s; the first {_SHOWN}:")
    return list(found.items())[:_SHOWN]


async def _observe(kubeconfig: Path | None, context: str | None, moves: bool) -> tuple[Observed, str]:
    async with connected(kubeconfig, context) as kube:
        text = await _layouts(kube)
        nodes, pods = [(await kube.list("v1", kind))["items"] for kind in ("Node", "Pod")]
        try:
            jobs = (await kube.list(constants.API_VERSION, constants.KIND))["items"]
        except UnknownKindError:  # a cluster without the operator
            jobs = []
    layouts = _checked("the MIG manager's configuration", parse_config, text)
    return _checked("the cluster", lambda: observe(nodes, pods, jobs, layouts, job_label=JOB, moves=moves)), text


async def _layouts(kube: KubeClient) -> str:
    """Return the text of the MIG manager's configuration."""
    try:
        policy = await kube.find("nvidia.com/v1", "ClusterPolicy", POLICY)
    except UnknownKindError:
        policy = None
    if policy is None:
        raise UserError("There is no ClusterPolicy: the GPU operator, whose MIG manager cuts GPUs, is not installed.")
    manager = (policy.get("spec") or {}).get("migManager") or {}
    named = (manager.get("config") or {}).get("name") or ""
    found = await kube.find("v1", "ConfigMap", named or DEFAULT_LAYOUTS, NAMESPACE)
    if found is None:
        if named:
            raise UserError(f"ConfigMap {NAMESPACE}/{named}, which the ClusterPolicy names, does not exist.")
        return dump_config(make_mig_parted_config())
    text = (found.get("data") or {}).get("config.yaml")
    if text is None:
        raise UserError(f"ConfigMap {NAMESPACE}/{named or DEFAULT_LAYOUTS} has no key config.yaml.")
    return str(text)


def _parse(file: Path, parse: Callable[[Any], _Result]) -> _Result:
    try:
        content = yaml.load(_text(file), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe
    except yaml.YAMLError as error:
        raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    return _checked(str(file), parse, content)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}.") from error


def _checked(where: str, work: Callable[..., _Result], *given: Any) -> _Result:
    try:
        return work(*given)
    except MigError as error:
        raise UserError("\n".join(f"{where}: {line}." for line in str(error).splitlines())) from error


# --- what is written and shown


def _refuse_overwriting(out: Path) -> None:
    if there := [name for name in _FILES if (out / name).exists()]:
        raise UserError(f"{out / there[0]} exists: choose another --out, or --force to overwrite.")


def _write(out: Path, given: Given, report: Row, made: Output) -> None:
    config = made.config if made.config["mig-configs"] else {"version": VERSION, "mig-configs": {}}
    labels = make_labels({row["node"]: row["layout"] for row in report["nodes"]}, MIG_CONFIG)
    texts = (
        dump_config(config),
        yaml.dump_all(labels, Dumper=_DUMPER, sort_keys=False),
        yaml.dump({"before": dump_fleet(given.fleet), **report}, Dumper=_DUMPER, sort_keys=False),
    )
    for name in _FILES:
        output.writable(out / name)
    for name, text in zip(_FILES, texts, strict=True):
        (out / name).write_text(text)
    output.say(f"wrote {', '.join(_FILES)} to {out}")


def _dump(report: Row, form: Format) -> None:
    if form is Format.JSON:
        typer.echo(json.dumps(report, indent=2))
    else:
        typer.echo(yaml.dump(report, Dumper=_DUMPER, sort_keys=False), nl=False)


def _show(report: Row) -> None:
    output.emit(
        [
            {
                "priority": row["priority"],
                "wanted": row["wanted"],
                "served": row["served"],
                "at most": row["served"] + row["moreAtMost"],
            }
            for row in report["priorities"]
        ],
        title="Instances",
    )
    slices, broken = report["memorySlices"], report["fragmentation"]
    changed, moved = report["gpusChanged"], report["podsMoved"]
    output.emit(
        [
            _line("memory slices in use", slices["usedBefore"], slices["usedAfter"], f"of {slices['total']}"),
            _line("fragmentation", broken["before"], broken["after"], f"at least {_least(broken['after'], broken)}"),
            _line("GPUs changed", "", changed["count"], f"at least {_least(changed['count'], changed)}"),
            _line("pods moved", "", moved["count"], f"at least {_least(moved['count'], moved)}"),
            _line("of these parked", "", len(report["podsParked"]), ""),
        ],
        title="Plan, proven to be the best" if report["optimal"] else "Plan, the best found",
    )
    if report["nodes"]:
        new = set(report["newLayouts"])
        rows = [{**row, "new": "yes" if row["layout"] in new else "no"} for row in report["nodes"]]
        output.emit(rows[:_SHOWN], title="Nodes to reconfigure, in this order")
        if len(rows) > _SHOWN:
            output.say(f"and {len(rows) - _SHOWN} more nodes: -o json or --out has all")
    if worse := report["driverMayChooseWorse"]:
        more = sum(row["worst"] - row["planned"] for row in worse)
        output.say(
            f"{len(worse)} GPUs may become more broken up than planned, by {more} in all: a layout cannot say where "
            "the driver puts an instance"
        )


def _least(count: int, row: Row) -> int:
    return count - int(row["lessAtMost"])


def _line(what: str, before: object, after: object, bound: str) -> Row:
    return {"": what, "before": before, "after": after, "bound": bound}


def _show_steps(report: Row) -> None:
    output.emit(report["steps"])
    if not report["steps"]:
        output.say("There is nothing to do.")
    if report["nodes"]:
        output.say("nodes in this order: " + ", ".join(f"{row['node']} ({row['layout']})" for row in report["nodes"]))
    if report["podsParked"]:
        output.say(f"stopped until their place is free: {', '.join(report['podsParked'])}")
    output.say(f"never interrupted: {', '.join(report['neverInterrupted']) or 'none'}")
