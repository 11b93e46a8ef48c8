"""The output of ``inferstack mig plan`` and ``diff``: tables, JSON or YAML, and the files of a plan."""

from __future__ import annotations

import json
from pathlib import Path

import typer
import yaml

from inferstack.cli import output
from inferstack.cli.output import Format
from inferstack.errors import UserError
from inferstack.mig.gpu_operator import MIG_CONFIG
from inferstack.mig.mig_parted import VERSION, dump_config
from inferstack.mig.planner import Fleet
from inferstack.mig.planner.inputs import dump_fleet
from inferstack.mig.planner.layouts import Output
from inferstack.mig.planner.report import Row, make_labels

_SHOWN = 20
_FILES = ("config.yaml", "labels.yaml", "plan.yaml")
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The C implementation if there is one: the plan of a large fleet is long."""


def refuse_overwriting(out: Path) -> None:
    """Refuse a folder that holds a plan.

    Raises:
        UserError: naming the file that exists.
    """
    if existing := [name for name in _FILES if (out / name).exists()]:
        raise UserError(f"--out: {out / existing[0]} exists; choose another folder, or overwrite it with --force.")


def write_files(out: Path, fleet: Fleet, report: Row, result: Output) -> None:
    """Write the mig-parted configuration, the labels and the plan to a folder."""
    config = result.config if result.config["mig-configs"] else {"version": VERSION, "mig-configs": {}}
    labels = make_labels({row["node"]: row["layout"] for row in report["nodes"]}, MIG_CONFIG)
    texts = (
        dump_config(config),
        yaml.dump_all(labels, Dumper=_DUMPER, sort_keys=False),
        yaml.dump({"before": dump_fleet(fleet), **report}, Dumper=_DUMPER, sort_keys=False),
    )
    for name in _FILES:
        output.writable(out / name)
    for name, text in zip(_FILES, texts, strict=True):
        (out / name).write_text(text)
    output.say(f"wrote {', '.join(_FILES)} to {out}")


def dump(report: Row, form: Format) -> None:
    """Print a report as JSON or YAML."""
    if form is Format.JSON:
        typer.echo(json.dumps(report, indent=2))
    else:
        typer.echo(yaml.dump(report, Dumper=_DUMPER, sort_keys=False), nl=False)


def show_plan(report: Row) -> None:
    """Print a plan as tables."""
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
        title="Plan, proven optimal" if report["optimal"] else "Plan, best found",
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
            f"{len(worse)} GPUs may become more fragmented than planned, by {more} in total: a layout does not "
            "determine where the driver places an instance"
        )


def _least(count: int, row: Row) -> int:
    return count - int(row["lessAtMost"])


def _line(what: str, before: object, after: object, bound: str) -> Row:
    return {"": what, "before": before, "after": after, "bound": bound}


def show_steps(report: Row) -> None:
    """Print the steps of a transition."""
    output.emit(report["steps"])
    if not report["steps"]:
        output.say("No steps are needed.")
    if report["nodes"]:
        output.say("nodes in this order: " + ", ".join(f"{row['node']} ({row['layout']})" for row in report["nodes"]))
    if report["podsParked"]:
        output.say(f"stopped until their GPU instance is free: {', '.join(report['podsParked'])}")
    output.say(f"never interrupted: {', '.join(report['neverInterrupted']) or 'none'}")
