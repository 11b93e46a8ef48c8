"""`inferstack mig apply` and `assert`: what is read, refused and told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from inferstack.api import MigRolloutStatus
from inferstack.cli import app
from inferstack.cli.mig.apply import make_rollout, parse_window, preview
from inferstack.cli.mig.assertion import drift
from inferstack.cli.mig.rollouts import changes, make_row
from inferstack.cli.mig.targets import parse_targets, read_targets
from inferstack.errors import UserError
from inferstack.mig.gpu_operator import MIG_CONFIG
from inferstack.mig.planner.report import make_labels
from tests.unit.controllers.mig.cluster import make

WANTED = {"b": "all-1g.5gb", "a": "all-balanced"}


@pytest.mark.parametrize(
    "text",
    [
        yaml.safe_dump_all(make_labels(WANTED, MIG_CONFIG)),  # labels.yaml
        yaml.safe_dump({"nodes": [{"node": n, "layout": x} for n, x in WANTED.items()], "steps": []}),  # plan.yaml
        yaml.safe_dump([{"node": n, "layout": x} for n, x in WANTED.items()]),
        yaml.safe_dump(WANTED, sort_keys=False),
    ],
)
def test_all_forms_of_files_keep_their_order(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.yaml").write_text(text)
    for given in (tmp_path, tmp_path / "labels.yaml"):
        assert list(read_targets([str(given)]).items()) == list(WANTED.items())
    assert list(read_targets(["c=x", str(tmp_path)])) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a=", "'a=': .*NODE=LAYOUT"),
        ("=x", "'=x': .*NODE=LAYOUT"),
        ("missing.yaml", "missing.yaml: No such file or directory"),
    ],
)
def test_what_is_typed_wrong_is_named(given: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_targets([given])


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "^f: "),
        (["word"], "^f: "),
        ([[{"node": "a"}]], r"^f\[0\]: "),
        ([{"nodes": [{"node": "a", "layout": 3}]}], r"^f: nodes\[0\]: node 'a' and layout 3"),
        ([{"a": None}], "^f: a: node 'a' and layout None"),
        ([[{"node": "a", "layout": "x"}, {"node": "a", "layout": "y"}]], r"^f\[1\]: node a .* x and y"),
        ([{"kind": "Node", "metadata": {"name": "a"}}], "^f: document 1: .* nvidia.com/mig.config"),
        ([{"kind": "Node", "metadata": {"name": "a", "labels": {MIG_CONFIG: "x"}}}, {"kind": "Pod"}], "document 2"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(documents: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_targets(documents, "f")


def test_two_layouts_for_a_node_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("a: y\n")
    with pytest.raises(UserError, match=r"f\.yaml: node a .* y here and x before"):
        read_targets(["a=x", str(tmp_path / "f.yaml")])


def test_a_rollout_is_checked_before_it_is_made() -> None:
    rollout = make_rollout("r", WANTED, {"windows": [parse_window("Sat,Sun 22:00 240")]})
    assert rollout["spec"] == {
        "nodes": [{"name": "b", "layout": "all-1g.5gb"}, {"name": "a", "layout": "all-balanced"}],
        "windows": [{"days": ["Sat", "Sun"], "start": "22:00", "durationMinutes": 240}],
    }
    with pytest.raises(UserError, match="metadata: name: 'R'"):
        make_rollout("R", WANTED, {})
    with pytest.raises(UserError, match=r"spec.maxUnavailableNodes: Input should be greater"):
        make_rollout("r", WANTED, {"maxUnavailableNodes": 0})
    with pytest.raises(UserError, match=r"spec.windows.0.start"):
        make_rollout("r", WANTED, {"windows": [parse_window("Sat 25:00 240")]})
    with pytest.raises(UserError, match="--window 'Sat 22:00'"):
        parse_window("Sat 22:00")


def test_what_will_happen() -> None:
    cluster = make(3, pods=3)
    cluster.machines["n1"].ready = False
    rows = preview(cluster.state(), {"n0": "all-1g.5gb", "n1": "all-1g.5gb", "n2": "all-3g.20gb", "n9": "x"}, "r")
    assert [(row["node"], row["pods"], row["what"]) for row in rows] == [
        ("n0", 1, "will be reconfigured"),
        ("n1", 1, "blocked: the node is not ready"),
        ("n2", 1, "up to date: the node already has the layout"),
        ("n9", 0, "not possible: the node does not exist"),
    ]


def test_each_difference_is_told() -> None:
    cluster = make(3)
    cluster.machines["n1"].state = "failed"
    cluster.machines["n2"].lost = 1
    world = cluster.state()
    same = dict.fromkeys(cluster.machines, "all-3g.20gb")
    assert drift(world, {"n0": "all-3g.20gb"}) == []
    assert [(row["node"], row["what"], row["wanted"], row["found"]) for row in drift(world, same)] == [
        ("n1", "state", "success", "failed"),
        ("n2", "devices", "4 mig-3g.20gb", "2 mig-3g.20gb"),
    ]
    other = drift(world, {"n0": "all-1g.5gb", "n9": "all-1g.5gb"})
    assert [(row["node"], row["what"], row["found"]) for row in other] == [
        ("n0", "layout", "all-3g.20gb"),
        ("n0", "devices", "4 mig-3g.20gb"),
        ("n9", "node", "missing"),
    ]
    assert drift(world, {"n0": "nothing"})[1]["found"] == "the MIG manager's configuration has no layout 'nothing'"
    with pytest.raises(UserError, match="why"):
        drift(dataclasses.replace(world, settings=None, settings_problem="why"), same)


def test_only_news_is_told() -> None:
    def status(phase: str, *steps: str) -> MigRolloutStatus:
        nodes = [{"name": f"n{i}", "step": step, "message": "m"} for i, step in enumerate(steps)]
        return MigRolloutStatus.model_validate({"phase": phase, "nodes": nodes})

    first = status("Running", "Draining", "Waiting")
    assert changes(None, first) == ["n0: Draining (m)", "Running"]
    assert changes(first, first) == []
    assert changes(first, status("Running", "Done", "Cordoning")) == ["n0: Done (m)", "n1: Cordoning (m)"]


def test_a_row_of_the_list() -> None:
    rollout = {"metadata": {"name": "r"}, "spec": {"nodes": [{}, {}]}}
    assert make_row(rollout) == {
        "rollout": "r", "phase": "Pending", "done": "0/2", "failed": 0, "nodes": "-", "message": "",
    }  # fmt: skip


@pytest.mark.parametrize("verb", ["apply", "assert", "rollouts", "follow", "pause", "resume", "abort"])
def test_each_verb_has_help(verb: str) -> None:
    done = CliRunner().invoke(app, ["mig", verb, "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.stdout
