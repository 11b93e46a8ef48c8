"""MigRollouts as users meet them: what the API server refuses, and the commands."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
import yaml
from typer.testing import CliRunner, Result

from components.gpu import builders
from inferstack.api import constants
from inferstack.apimachinery.objects import Object
from inferstack.cli import app
from inferstack.errors import UserError
from inferstack.k8s import ApiError, KubeClient
from rehearsal.control_plane import Rehearsal
from tests.rehearsal import mig_fleet as fleet
from tests.rehearsal.malformed import named_by_server
from tests.rehearsal.mig_fleet import AFTER, BEFORE
from tests.rehearsal.operator_process import MANAGER, Operator, serving
from tests.unit.api.test_mig_rollout import GOOD, MALFORMED

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(240)]

ROLLOUTS = f"/apis/{constants.API_VERSION}/{constants.ROLLOUT_PLURAL}"


@pytest.fixture(scope="module")
def operator(plane: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A running operator, which installs the kind, and the GPU operator beside it."""
    with fleet.gpu_operator(plane), serving(plane.kubeconfig, tmp_path_factory.mktemp("operator"), 1) as running:
        yield running


@pytest.fixture
async def nodes(kube: KubeClient, operator: Operator) -> AsyncIterator[list[str]]:
    """Two simulated nodes."""
    names = await fleet.make_nodes(kube, 2)
    yield names
    await fleet.remove(kube, names)


async def _refused(kube: KubeClient, spec: Object) -> set[str]:
    """Return the fields that the API server complains of, none where it takes a rollout."""
    body = {**GOOD, "spec": {key: value for key, value in {**GOOD["spec"], **spec}.items() if value is not None}}
    try:
        await kube.create(body, field_manager=MANAGER, dry_run=True)
    except ApiError as error:
        if error.code not in (400, 422):
            raise
        return named_by_server(error)
    return set()


async def test_api_server_rejects_what_the_model_rejects(operator: Operator, kube: KubeClient) -> None:
    assert await _refused(kube, {}) == set()
    wrong = {}
    for patch, field in MALFORMED:
        parts = [f"[{part}]" if part.isdecimal() else f".{part}" for part in field.split(".")]
        path = "spec" + "".join(parts)
        named = await _refused(kube, patch)
        if not any(name == path or name.startswith((path + ".", path + "[")) for name in named):
            wrong[path] = named
    assert wrong == {}


async def test_rollout_spec_is_immutable_except_paused_and_aborted(kube: KubeClient, nodes: list[str]) -> None:
    name = await fleet.start(kube, nodes, paused=True)
    for spec, field in (
        ({"nodes": [{"name": nodes[0], "layout": BEFORE}]}, "spec.nodes"),
        ({"maxUnavailableNodes": 2}, "spec.maxUnavailableNodes"),
        ({"maxFailedNodes": 2}, "spec.maxFailedNodes"),
        ({"drainTimeoutSeconds": 2}, "spec.drainTimeoutSeconds"),
        ({"stateTimeoutSeconds": 2}, "spec.stateTimeoutSeconds"),
        ({"windows": GOOD["spec"]["windows"]}, "spec.windows"),
    ):
        with pytest.raises(ApiError) as refused:
            await fleet.edit(kube, name, **spec)
        assert named_by_server(refused.value) == {field}
    await fleet.edit(kube, name, aborted=True)
    with pytest.raises(ApiError) as refused:
        await fleet.edit(kube, name, aborted=False)
    assert named_by_server(refused.value) == {"spec.aborted"}


async def _mig(plane: Rehearsal, *arguments: str) -> Result:
    """Run ``inferstack mig ARGUMENTS``; a sentence for the user is in ``exception``."""
    line = ["mig", *arguments, "--kubeconfig", str(plane.kubeconfig)]
    return await asyncio.to_thread(CliRunner().invoke, app, line)


async def test_mig_rollout_commands(plane: Rehearsal, kube: KubeClient, nodes: list[str]) -> None:
    wanted = [f"{node}={AFTER}" for node in nodes]
    before = await _mig(plane, "assert", *wanted, "-o", "json")
    assert before.exit_code == 1
    assert {(row["node"], row["what"]) for row in json.loads(before.stdout)} == {
        (node, what) for node in nodes for what in ("layout", "devices")
    }
    assert (await _mig(plane, "assert", *(f"{node}={BEFORE}" for node in nodes))).exit_code == 0
    wrong = await _mig(plane, "apply", f"{nodes[0]}={AFTER}", "no-such-node=x", "--yes")
    assert isinstance(wrong.exception, UserError)
    assert "no-such-node: " in str(wrong.exception)
    assert not (await kube.request("GET", ROLLOUTS))["items"]
    asked = await asyncio.to_thread(
        CliRunner().invoke, app, ["mig", "apply", *wanted, "--kubeconfig", str(plane.kubeconfig)], input="n\n"
    )
    assert asked.exit_code == 1
    assert not (await kube.request("GET", ROLLOUTS))["items"]
    done = await _mig(plane, "apply", *wanted, "--yes", "--name", "by-hand", "--max-unavailable", "2")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("will be reconfigured") == len(nodes)
    assert (await _mig(plane, "assert", *wanted)).exit_code == 0
    shown = await _mig(plane, "rollouts", "-o", "json")
    assert [(row["rollout"], row["phase"], row["done"]) for row in json.loads(shown.stdout)] == [
        ("by-hand", "Succeeded", "2/2")
    ]
    ended = await _mig(plane, "abort", "by-hand")
    assert isinstance(ended.exception, UserError)
    assert re.match(r"by-hand .* ended: Succeeded", str(ended.exception))
    closed = [f"{node}={BEFORE}" for node in nodes]
    held = await _mig(plane, "apply", *closed, "--yes", "--no-wait", "--name", "held", "--window", _far_window())
    assert held.exit_code == 0, held.output
    for verb, phase in (("pause", "Paused"), ("resume", "Waiting"), ("abort", "Aborted")):
        assert (await _mig(plane, verb, "held")).exit_code == 0
        await fleet.reach(kube, "held", fleet.phase(phase))
    failed = await _mig(plane, "follow", "held")
    assert isinstance(failed.exception, UserError)
    assert (await _mig(plane, "assert", *wanted)).exit_code == 0


async def _pods(kube: KubeClient, namespace: str, count: int, holds: Callable[[Object], bool]) -> list[Object]:
    """Wait until so many pods are as they should be."""
    async with asyncio.timeout(30):
        while True:
            pods: list[Object] = (await kube.list("v1", "Pod", namespace))["items"]
            if sum(map(holds, pods)) >= count:
                return pods
            await asyncio.sleep(0.2)


async def test_plan_and_apply_make_pending_pods_run(
    plane: Rehearsal, kube: KubeClient, nodes: list[str], namespace: str, tmp_path: Path
) -> None:
    resources = {"nvidia.com/mig-1g.5gb": 1, "cpu": "1", "memory": "1Gi"}
    job = {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND,
        "metadata": {"name": "small", "namespace": namespace},
        "spec": {
            "model": "bert-base-uncased",
            "replicas": 4,
            "resources": {"requests": resources, "limits": resources},
        },
    }
    await kube.create(job, field_manager=MANAGER)
    await _pods(kube, namespace, 4, lambda _: True)
    folder = tmp_path / "plan"
    planned = await _mig(plane, "plan", "--from-cluster", "--out", str(folder), "-o", "json")
    assert planned.exit_code == 0, planned.output
    plan = json.loads(planned.stdout)
    assert [(row["wanted"], row["served"]) for row in plan["priorities"]] == [(4, 4)]
    changed = yaml.safe_load((folder / "plan.yaml").read_text())["nodes"]
    assert [entry["node"] for entry in changed] == nodes[:1], "one node has room for all"
    # A layout that the MIG manager does not know is refused, and nothing is cordoned for it.
    early = await _mig(plane, "apply", str(folder), "--yes")
    assert isinstance(early.exception, UserError)
    assert changed[0]["layout"] in str(early.exception)
    # What inferstack:gpu.mig.layouts is for.
    config = yaml.safe_load((folder / "config.yaml").read_text())
    await kube.apply(builders.make_config_map(config), field_manager=MANAGER)
    try:
        done = await _mig(plane, "apply", str(folder), "--yes", "--name", "planned")
        assert done.exit_code == 0, done.output
        assert (await _mig(plane, "assert", str(folder))).exit_code == 0
        pods = await _pods(kube, namespace, 4, fleet.is_ready)
        assert {pod["spec"]["nodeName"] for pod in pods} == set(nodes[:1])
        assert (await _mig(plane, "assert", f"{nodes[1]}={BEFORE}")).exit_code == 0
        again = await _mig(plane, "plan", "--from-cluster", "-o", "json")
        assert json.loads(again.stdout)["nodes"] == []
    finally:
        await fleet.spoil(kube, mend=True)


async def test_operator_exports_gpu_usage_metrics(
    operator: Operator, kube: KubeClient, nodes: list[str], namespace: str
) -> None:
    await fleet.deploy(kube, namespace, "served", 3, nodes[:1])
    wanted = {
        f'inferstack_mig_memory_slices{{node="{nodes[0]}",gpu="A100-SXM4-40GB",state="used"}} 12',
        f'inferstack_mig_memory_slices{{node="{nodes[0]}",gpu="A100-SXM4-40GB",state="idle"}} 4',
        f'inferstack_mig_fragmentation_ratio{{node="{nodes[1]}",gpu="A100-SXM4-40GB"}} 0',
        f'inferstack_mig_namespace_gpus{{namespace="{namespace}"}} 1.5',
    }
    page = ""
    async with aiohttp.ClientSession() as http, asyncio.timeout(30):
        while not wanted <= set(page.splitlines()):
            await asyncio.sleep(0.5)
            async with http.get(f"http://127.0.0.1:{operator.port}/metrics") as answer:
                page = await answer.text()
    assert "inferstack_operator_jobs" in page


def _far_window() -> str:
    return f"{fleet.far_day()} 00:00 60"
