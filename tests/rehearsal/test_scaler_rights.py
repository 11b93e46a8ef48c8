"""The scaler's rights are what it needs, no less and no more.

It looks at a job on an API server that writes down each of its requests. That Prometheus does not answer is enough of a
trace: it watches all that it ever does, says so in the job's status and tells of it by an Event.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from inferstack.api import constants, crds
from inferstack.controllers.scaling.rbac import rules
from inferstack.k8s import KubeClient
from inferstack.k8s.auth import load_kubeconfig
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.audited import audited
from tests.rehearsal.operator_process import MANAGER
from tests.rehearsal.permissions import Permission, missing_permissions, permissions_of, requests_in, unused_permissions
from tests.rehearsal.scaler_process import scaling

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(300)]

PERMISSIONS = permissions_of(rules())
NOBODY = "http://127.0.0.1:1"
ONE = {"nvidia.com/gpu": 1}
SPEC = {
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "resources": {"requests": ONE, "limits": ONE},
    "autoscale": {
        "metrics": [{"type": "QueueDepth", "target": 5}],
        "predictive": {"slo": {"milliseconds": 500}},
    },
}


async def exercise_operator(kubeconfig: Path) -> None:
    """Have a job that asks for predictive scaling, until the scaler has said and told why there is none."""
    namespace = "scaler-rights"
    meta = {"name": "chat", "namespace": namespace}
    job = {"apiVersion": constants.API_VERSION, "kind": constants.KIND, "metadata": meta, "spec": SPEC}
    async with await KubeClient.connect(kubeconfig) as kube, asyncio.timeout(60):
        await kube.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, field_manager=MANAGER
        )
        await kube.create(job, field_manager=MANAGER)
        async for _, event in kube.watch("v1", "Event", namespace):
            if event.get("reason") == "PrometheusUnreachable":
                break
        scaling = (await kube.get(constants.API_VERSION, constants.KIND, "chat", namespace))["status"]["scaling"]
        assert scaling["reason"] == "PrometheusUnreachable"
        assert NOBODY in scaling["message"]
        assert "minReplicas" not in scaling
        await kube.delete(constants.API_VERSION, constants.KIND, "chat", namespace)
        await kube.delete("v1", "Namespace", namespace, propagation="Background")


async def _install(kubeconfig: Path) -> None:
    async with await KubeClient.connect(kubeconfig) as kube:
        for crd in crds():
            await kube.apply(crd, field_manager=MANAGER)


def test_granted_permissions_are_those_used(plane: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> None:
    own = tmp_path_factory.mktemp("scaler")
    asyncio.run(_install(plane.kubeconfig))
    with (
        audited(plane, tmp_path_factory.mktemp("rights")) as server,
        scaling(server.kubeconfig, own, NOBODY, "--interval=1", "--validity=3"),
    ):
        asyncio.run(exercise_operator(server.kubeconfig))
        account = load_kubeconfig(own / "kubeconfig")["contexts"][0]["context"]["namespace"]
        requests = requests_in(server.log, f"system:serviceaccount:{account}:{account}")
    assert missing_permissions(PERMISSIONS, requests, account) == set()
    assert unused_permissions(PERMISSIONS, requests) == set()
    assert not [request for request in requests if request.code in (401, 403)]
    # A right too many and one too few would be noticed.
    assert unused_permissions([*PERMISSIONS, Permission("", "secrets", "list")], requests) == {
        Permission("", "secrets", "list")
    }
    for permission in PERMISSIONS:
        assert missing_permissions(PERMISSIONS - {permission}, requests, account) == {permission}
