"""`inferstack mig plan` and `diff` as a user sees them; the API server is played by lists of objects."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from inferstack.cli import app
from inferstack.cli.mig import plan as mig_plan
from inferstack.cli.mig import planner_input
from inferstack.errors import UserError
from inferstack.k8s.errors import UnknownKindError
from inferstack.mig.mig_parted import dump_config, make_mig_parted_config, parse_config
from inferstack.mig.planner import diff
from inferstack.mig.planner.inputs import parse_fleet
from tests.unit.mig.planner.fleets import H100
from tests.unit.mig.planner.test_cluster import make_node, make_pod

runner = CliRunner()
FLEET = {
    "nodes": [
        {"name": "a", "model": H100, "gpus": [{"instances": [{"profile": "1g.10gb", "pod": "x/kept"}]}]},
        {"name": "b", "model": H100, "gpus": 2},
    ]
}
DEMANDS = {
    "demands": [
        {"name": "large", "count": 1, "priority": 9, "profile": "7g.80gb"},
        {"name": "small", "count": 7, "profile": "1g.10gb"},
    ]
}


def _file(folder: Path, name: str, content: Any) -> str:
    (folder / name).write_text(yaml.safe_dump(content))
    return str(folder / name)


def _given(folder: Path, demands: Any = DEMANDS) -> list[str]:
    return ["--fleet", _file(folder, "fleet.yaml", FLEET), "--demands", _file(folder, "demands.yaml", demands)]


def _run(*args: str) -> Result:
    return runner.invoke(app, ["mig", *args])


def test_a_plan_as_json_says_what_is_served_and_how_far_from_the_best_it_is(tmp_path: Path) -> None:
    done = _run("plan", *_given(tmp_path), "-o", "json")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["optimal"] is True
    assert plan["priorities"] == [
        {"priority": 9, "wanted": 1, "served": 1, "moreAtMost": 0},
        {"priority": 0, "wanted": 7, "served": 7, "moreAtMost": 0},
    ]
    assert plan["gpusChanged"] == {"count": 2, "lessAtMost": 0}
    assert [row["node"] for row in plan["nodes"]] == ["b"]
    assert plan["neverInterrupted"] == ["x/kept"]


def test_a_plan_that_does_not_serve_everything_exits_with_3(tmp_path: Path) -> None:
    more = {"demands": [{"name": "large", "count": 4, "profile": "7g.80gb"}]}
    done = _run("plan", *_given(tmp_path, more))
    assert done.exit_code == mig_plan.DEMANDS_UNMET
    assert "proven optimal" in done.stdout


def test_the_written_files_lead_to_the_plan_and_are_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = _given(tmp_path)
    assert _run("plan", *given, "--out", str(out)).exit_code == 0
    layouts = parse_config((out / "config.yaml").read_text())
    labels = {
        node["metadata"]["name"]: node["metadata"]["labels"]["nvidia.com/mig.config"]
        for node in yaml.safe_load_all((out / "labels.yaml").read_text())
    }
    assert labels.keys() == {"b"}
    assert set(labels.values()) <= layouts.keys()
    written = yaml.safe_load((out / "plan.yaml").read_text())
    before, after = parse_fleet(written["before"]), parse_fleet(written["fleet"])
    assert [step["action"] for step in written["steps"]].count("reconfigure") == len(diff(before, after).reconfigured)
    with pytest.raises(UserError, match=r"config\.yaml exists; .*--force"):
        runner.invoke(app, ["mig", "plan", *given, "--out", str(out)], catch_exceptions=False)
    assert _run("plan", *given, "--out", str(out), "--force").exit_code == 0


def test_the_layouts_in_use_keep_their_names(tmp_path: Path) -> None:
    known = tmp_path / "known.yaml"
    known.write_text(dump_config(make_mig_parted_config([H100])))
    wanted = {"demands": [{"name": "large", "count": 2, "profile": "7g.80gb"}]}
    done = _run("plan", *_given(tmp_path, wanted), "--layouts", str(known), "-o", "yaml")
    layouts = yaml.safe_load(done.stdout)
    assert (layouts["nodes"], layouts["newLayouts"]) == ([{"node": "b", "layout": "all-7g.80gb"}], [])


def test_the_steps_are_shown_in_order_with_what_is_never_interrupted(tmp_path: Path) -> None:
    done = _run("diff", *_given(tmp_path), "-o", "json")
    report = json.loads(done.stdout)
    actions = [row["action"] for row in report["steps"]]
    assert actions == ["reconfigure"] * 2 + ["start"] * 8
    shown = _run("diff", *_given(tmp_path))
    assert "never interrupted: x/kept" in shown.stderr
    target = {
        "nodes": [
            FLEET["nodes"][0],
            {"name": "b", "model": H100, "gpus": [{"instances": [{"profile": "3g.40gb"}]}, {}]},
        ]
    }
    to = ["diff", "--fleet", _given(tmp_path)[1], "--to", _file(tmp_path, "to.yaml", target), "-o", "json"]
    (step,) = json.loads(_run(*to).stdout)["steps"]
    assert (step["action"], step["gpu"], step["instance"]) == ("reconfigure", "b/0", "+1x3g.40gb")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "either --fleet FILE or --from-cluster"),
        (["--from-cluster", "--fleet", "FLEET"], "either --fleet FILE or --from-cluster"),
        (["--fleet", "FLEET"], "--demands FILE"),
        (["--fleet", "FLEET", "--demands", "WRONG"], r"wrong\.yaml: demands\[0\]\.cuont: unknown key"),
        (["--fleet", "nowhere.yaml", "--demands", "DEMANDS"], r"nowhere\.yaml cannot be read"),
        (["--fleet", "FLEET", "--demands", "DEMANDS", "--allow-moves"], "--allow-moves.* --from-cluster"),
        (["--from-cluster", "--layouts", "FLEET"], "--layouts .*--fleet"),
    ],
)
def test_wrong_input_is_named(tmp_path: Path, args: list[str], message: str) -> None:
    files = dict(zip(("FLEET", "DEMANDS"), _given(tmp_path)[1::2], strict=True))
    files["WRONG"] = _file(tmp_path, "wrong.yaml", {"demands": [{"name": "a", "cuont": 1, "profile": "1g.10gb"}]})
    with pytest.raises(UserError, match=message):
        runner.invoke(app, ["mig", "plan", *(files.get(arg, arg) for arg in args)], catch_exceptions=False)


class PlayedServer:
    """Answers with one cut and one empty node, a pod that runs and pods that wait."""

    def __init__(self, policy: bool = True) -> None:
        self._policy = policy

    async def list(self, api_version: str, kind: str) -> dict[str, Any]:
        if kind == "InferenceJob":
            raise UnknownKindError(api_version, kind)
        waiting = [make_pod(f"w{n}", None, "7g.80gb") for n in range(2)]
        nodes = [
            make_node("cut"),
            make_node("empty", None),
            make_node("odd", "all-balanced", 2, **{"nvidia.com/mig.strategy": "single"}),
        ]
        return {"items": {"Node": nodes, "Pod": [make_pod("runs", "cut"), *waiting]}[kind]}

    async def find(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Any:
        assert api_version in ("v1", "nvidia.com/v1")
        if kind == "ClusterPolicy" and self._policy:
            return {"spec": {"migManager": {"config": {"name": "mine"}}}}
        if kind == "ConfigMap":
            assert (name, namespace) == ("mine", "gpu-operator")
            return {"data": {"config.yaml": dump_config(make_mig_parted_config([H100]))}}
        return None


def _serve(monkeypatch: pytest.MonkeyPatch, server: PlayedServer) -> None:
    @contextlib.asynccontextmanager
    async def connected(kubeconfig: Path | None, context: str | None = None) -> AsyncIterator[PlayedServer]:
        yield server

    monkeypatch.setattr(planner_input, "connected", connected)


def test_a_cluster_is_read_and_its_waiting_pods_are_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, PlayedServer())
    done = _run("plan", "--from-cluster", "-o", "json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["demands"] == [{"name": "a/web", "priority": 0, "wanted": 2, "served": 2}]
    assert report["nodes"] == [{"node": "empty", "layout": "all-7g.80gb"}]
    assert re.search("node odd .*: its MIG strategy is single", done.stderr)


def test_without_a_gpu_operator_there_is_nothing_to_plan_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, PlayedServer(policy=False))
    with pytest.raises(UserError, match="There is no ClusterPolicy"):
        runner.invoke(app, ["mig", "plan", "--from-cluster"], catch_exceptions=False)
