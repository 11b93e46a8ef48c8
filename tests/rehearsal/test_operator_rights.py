"""The operator's rights are what it needs, no less and no more.

An operator lives through all that a job's life can bring, on an API server that writes down each of its requests.
Each request must be allowed, each permission must have been used, and without any one permission a request is refused.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest

from components.inference.operator_objects import make_rights
from inferstack.api import constants
from inferstack.apimachinery.objects import Object
from inferstack.controllers.rbac import rules
from inferstack.k8s import KubeClient
from inferstack.k8s.auth import Access, load_kubeconfig
from rehearsal.control_plane import Rehearsal
from tests.rehearsal import mig_fleet
from tests.rehearsal.audited import Audited, audited
from tests.rehearsal.kinds import crds_of, served
from tests.rehearsal.operator_process import MANAGER, serving
from tests.rehearsal.permissions import (
    Permission,
    Request,
    make_replayable,
    missing_permissions,
    permissions_of,
    requests_in,
    rules_of,
    unused_permissions,
)
from tests.rehearsal.test_operator import AUTOSCALE, VERSIONS, Jobs, exists

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(300)]

RBAC = "rbac.authorization.k8s.io"
PERMISSIONS = sorted(permissions_of(rules()))
FINALIZERS = Permission(constants.GROUP, f"{constants.PLURAL}/finalizers", "update")
"""No request: admission looks for this right when a child is made whose owner reference blocks the owner's deletion."""
CHILD = Permission("apps", "deployments", "create")
"""The request that needs it."""
READ = Permission("", "pods", "list")
OTHER_READ = Permission("", "services", "list")
"""By which it is seen that a role is in effect."""
MARK = "inferstack.dev/rights-test"
KEPT = "kept"


@dataclass(frozen=True)
class OperatorTrace:
    """What an operator has asked for."""

    server: Audited
    account: str
    """Name of the operator's ServiceAccount, its namespace and what binds its rights."""
    requests: list[Request]

    def request(self, permission: Permission) -> Request:
        """A request that needed a permission, of the job that is still there if there is one."""
        matches = [request for request in self.requests if request.permission == permission and request.code < 400]
        assert matches, f"nothing in the operator's life needed: {permission}"
        return max(matches, key=lambda request: request.name == KEPT)


@pytest.fixture(scope="module")
def trace(plane: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorTrace]:
    """An operator that has seen everything, and is still there."""
    folder = tmp_path_factory.mktemp("rights")
    own = tmp_path_factory.mktemp("operator")
    namespace = f"rights-{secrets.token_hex(4)}"
    with (
        served(plane, crds_of("fluid")),
        mig_fleet.gpu_operator(plane),
        audited(plane, folder) as server,
        serving(server.kubeconfig, own) as operator,
    ):
        collector = next(part.pid for part in plane.status() if part.name == "kube-controller-manager")
        assert collector
        try:
            asyncio.run(exercise_operator(server.kubeconfig, namespace, psutil.Process(collector)))
            assert "forbidden" not in operator.log.read_text()
            account = load_kubeconfig(own / "kubeconfig")["contexts"][0]["context"]["namespace"]
            yield OperatorTrace(server, account, requests_in(server.log, f"system:serviceaccount:{account}:{account}"))
        finally:
            asyncio.run(_delete(plane.kubeconfig, namespace))


async def exercise_operator(kubeconfig: Path, namespace: str, collector: psutil.Process) -> None:
    """Do to jobs what users, clusters and bad luck do to them.

    Args:
        kubeconfig: of the API server that the operator works with.
        namespace: to be made, for the jobs.
        collector: the process of the garbage collector.
    """
    async with await KubeClient.connect(kubeconfig) as kube:
        await kube.create(_object("v1", "Namespace", namespace), field_manager=MANAGER)
        quota = _object("v1", "ResourceQuota", "gpus", namespace)
        await kube.apply({**quota, "spec": {"hard": {"requests.nvidia.com/gpu": "6"}}}, field_manager=MANAGER)
        jobs = Jobs(kube, namespace)
        cache = {"dataset": "absent", "whenCold": "StartDegraded"}
        await asyncio.gather(
            jobs.create(KEPT, autoscale=AUTOSCALE, cache=cache), jobs.create("twin", autoscale=AUTOSCALE)
        )
        await asyncio.gather(*(jobs.ready(name, "2/2") for name in (KEPT, "twin")))
        await _roll_out(jobs)
        await _repair(jobs)
        await _outgrow_the_quota(jobs)
        await _take_the_collectors_place(jobs, collector)
        await _reconfigure(kube, namespace)
        await jobs.edit("twin", autoscale=None)
        await jobs.until("HorizontalPodAutoscaler", "twin", lambda obj: obj is None)


async def _reconfigure(kube: KubeClient, namespace: str) -> None:
    """Give a node with a pod another MIG layout; node and rollout stay, and a pod that could be evicted."""
    nodes = await mig_fleet.make_nodes(kube, 1)
    await mig_fleet.deploy(kube, namespace, "served", 1, nodes)
    rollout = await mig_fleet.start(kube, nodes)
    await mig_fleet.reach(kube, rollout, mig_fleet.phase("Succeeded"))
    pod = {"containers": [{"name": "c", "image": "registry.invalid/c"}]}
    await kube.create({**_object("v1", "Pod", KEPT, namespace), "spec": pod}, field_manager=MANAGER)


async def _roll_out(jobs: Jobs) -> None:
    """Change a job so that each of its objects but the Service changes."""
    autoscale = {**AUTOSCALE, "maxReplicas": 5}
    await jobs.edit(KEPT, model="bert-large-uncased", disruption={"maxUnavailable": 2}, autoscale=autoscale)
    await jobs.until("PodDisruptionBudget", KEPT, lambda obj: obj is not None and obj["spec"]["maxUnavailable"] == 2)
    await jobs.until("HorizontalPodAutoscaler", KEPT, lambda obj: obj is not None and obj["spec"]["maxReplicas"] == 5)
    await jobs.patch(constants.KIND, KEPT, {"spec": {"replicas": 3}}, subresource="scale")
    await jobs.ready(KEPT, "3/3")


async def _repair(jobs: Jobs) -> None:
    """Take away an object, and the label by which another is found."""
    await jobs.delete("PodDisruptionBudget", KEPT)
    await jobs.until("PodDisruptionBudget", KEPT, exists)
    await jobs.patch("Service", KEPT, {"metadata": {"labels": {"inferstack.dev/job": None}}})
    await jobs.until("Service", KEPT, lambda obj: obj is not None and "inferstack.dev/job" in obj["metadata"]["labels"])


async def _outgrow_the_quota(jobs: Jobs) -> None:
    await jobs.create("greedy", replicas=8)
    await jobs.degraded("greedy", "QuotaExceeded", 20)
    await jobs.delete(constants.KIND, "greedy")
    await jobs.until("Deployment", "greedy", lambda obj: obj is None)


async def _take_the_collectors_place(jobs: Jobs, collector: psutil.Process) -> None:
    """Make a job anew under the name of one that is gone, while what that owned is still there."""
    old = {kind: (await jobs.child(kind, "twin"))["metadata"]["uid"] for kind in VERSIONS}
    collector.send_signal(signal.SIGSTOP)
    try:
        await jobs.delete(constants.KIND, "twin")
        await jobs.create("twin", autoscale=AUTOSCALE)
        for kind, uid in old.items():
            await jobs.until(kind, "twin", lambda obj, uid=uid: exists(obj) and obj["metadata"]["uid"] != uid)  # type: ignore[misc]  # the default binds the loop's value
    finally:
        collector.send_signal(signal.SIGCONT)
    await jobs.ready("twin", "2/2")


def _object(api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


async def _delete(kubeconfig: Path, namespace: str) -> None:
    async with await KubeClient.connect(kubeconfig) as kube:
        nodes = (await kube.list("v1", "Node", labels="fleet"))["items"]
        await mig_fleet.remove(kube, [node["metadata"]["name"] for node in nodes])
        await kube.delete("v1", "Namespace", namespace, propagation="Background")


def test_all_requests_are_granted(trace: OperatorTrace) -> None:
    assert missing_permissions(PERMISSIONS, trace.requests, trace.account) == set()
    assert not [request for request in trace.requests if request.code in (401, 403)]


def test_all_granted_rights_are_used(trace: OperatorTrace) -> None:
    assert unused_permissions(PERMISSIONS, trace.requests) == {FINALIZERS}


def test_excess_and_missing_rights_are_detected(trace: OperatorTrace) -> None:
    greedy = Permission("", "secrets", "list")
    assert greedy in unused_permissions([*PERMISSIONS, greedy], trace.requests)
    for permission in set(PERMISSIONS) - {FINALIZERS}:
        assert missing_permissions(set(PERMISSIONS) - {permission}, trace.requests, trace.account) == {permission}


def test_the_platform_binds_these_rights_to_the_operator_only() -> None:
    account, role, binding = make_rights(rules())
    assert permissions_of(role["rules"]) == set(PERMISSIONS)
    assert not [part for permission in PERMISSIONS for part in permission if part == "*" or part.startswith("secrets")]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    [subject] = binding["subjects"]
    meta = account["metadata"]
    assert (subject["kind"], subject["namespace"], subject["name"]) == (
        "ServiceAccount",
        meta["namespace"],
        meta["name"],
    )


@pytest.fixture(scope="module")
def reduced(trace: OperatorTrace, plane: Rehearsal) -> Iterator[dict[Permission, str]]:
    """For each permission a user who has all the others; ``all`` has all."""
    users = {permission: f"without-{index}" for index, permission in enumerate(PERMISSIONS)}
    asyncio.run(
        _bind(
            plane.kubeconfig,
            {**{user: set(PERMISSIONS) - {permission} for permission, user in users.items()}, "all": set(PERMISSIONS)},
        )
    )
    yield users
    asyncio.run(_unbind(plane.kubeconfig))


async def _bind(kubeconfig: Path, rights: dict[str, set[Permission]]) -> None:
    async def bind(kube: KubeClient, user: str, permissions: set[Permission]) -> None:
        name = f"rights-{user}"
        meta = {"name": name, "labels": {MARK: "true"}}
        role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
        subject = {"apiGroup": RBAC, "kind": "User", "name": user}
        for obj in (
            {"kind": "ClusterRole", "rules": rules_of(permissions)},
            {"kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]},
        ):
            await kube.create({"apiVersion": f"{RBAC}/v1", "metadata": meta, **obj}, field_manager=MANAGER)

    async with await KubeClient.connect(kubeconfig) as kube:
        await asyncio.gather(*(bind(kube, user, permissions) for user, permissions in rights.items()))


async def _unbind(kubeconfig: Path) -> None:
    async with await KubeClient.connect(kubeconfig) as kube:
        for plural in ("clusterrolebindings", "clusterroles"):
            await kube.request("DELETE", f"/apis/{RBAC}/v1/{plural}", params={"labelSelector": MARK})


@pytest.mark.parametrize("permission", PERMISSIONS, ids=str)
async def test_without_any_single_right_a_request_is_refused(
    trace: OperatorTrace, reduced: dict[Permission, str], permission: Permission
) -> None:
    asked = make_replayable(trace.request(CHILD if permission == FINALIZERS else permission), KEPT)
    async with await KubeClient.connect(trace.server.kubeconfig) as kube, aiohttp.ClientSession() as http:
        await _in_effect(
            http, kube.access, reduced[permission], trace.request(OTHER_READ if permission == READ else READ)
        )
        await _in_effect(http, kube.access, "all", trace.request(READ))
        with_it = await _send(http, kube.access, "all", asked)
        without = await _send(http, kube.access, reduced[permission], asked)
    assert with_it[0] < 300, with_it[1]
    assert without[0] == 403, without[1]
    message = (
        "cannot set blockOwnerDeletion"
        if permission == FINALIZERS
        else f'cannot {permission.verb} resource "{permission.resource}"'
    )
    assert message in without[1]


async def _in_effect(http: aiohttp.ClientSession, access: Access, user: str, read: Request) -> None:
    """Wait until the API server has taken note of a user's role."""
    async with asyncio.timeout(20):
        while (await _send(http, access, user, read))[0] == 403:  # noqa: ASYNC110  # nothing tells us
            await asyncio.sleep(0.05)


async def _send(http: aiohttp.ClientSession, access: Access, user: str, asked: Request) -> tuple[int, str]:
    """Send a request as a user; return the answer's code and text."""
    assert access.tls
    async with http.request(
        asked.method,
        access.server + asked.path,
        params=asked.query,
        json=asked.body,
        headers={"Impersonate-User": user, "Content-Type": asked.content_type},
        ssl=access.tls,
    ) as answer:
        if asked.permission.verb == "watch" and answer.status < 400:
            return answer.status, ""  # it goes on for a while
        return answer.status, (await answer.text()).replace('\\"', '"')
