"""The API server takes every object of the mesh by Istio's real kinds, and refuses what their rules forbid.

No part of Istio runs here: no proxy is injected and no traffic flows. What is tried is what the API server can tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from components.addon.catalogue import AddonName
from components.mesh import builders, metrics, traffic
from components.mesh.objects import INGRESS, ROOT
from components.mesh.settings import MeshSettings
from components.settings import load_role
from components.tenancy import builders as tenancy
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.kinds import crds_of, served

pytestmark = pytest.mark.rehearsal

MANAGER = "test"
WHY = "Prometheus is outside the mesh"
KINDS: tuple[AddonName, ...] = ("istio-base", "kube-prometheus-stack")
SETTINGS: dict[str, Object] = {
    "defaults": {},
    "everything": {
        "mtls": {"exceptions": [{"tenant": "TENANT", "port": 9000, "paths": ["/metrics"], "reason": WHY}]},
        "hosts": [
            {"host": "bert.example.com", "job": "TENANT/bert", "tlsSecret": "bert-tls"},
            {"host": "open.example.com", "job": "TENANT/bert", "plaintext": True},
        ],
        "gateway": {"crossNetwork": True},
        "traffic": {"warmupSeconds": 30},
        "failover": [{"from": "us-east-1", "to": "us-west-2"}],
        "standbys": {"west": {"region": "us-west-2", "gateway": "west.example.com"}},
    },
    "peak EWMA": {"traffic": {"loadBalancing": "PEAK_EWMA"}},
    "bare": {
        "mtls": {"mode": "PERMISSIVE"},
        "ejection": {"enabled": False},
        "telemetry": {"accessLog": "none"},
        "traffic": {"timeoutSeconds": None, "retries": 0},
    },
    "ambient": {"dataPlane": "ambient", "ejection": {"failurePercentage": {"enabled": False}}},
}


@pytest.fixture(scope="module")
def kinds(plane: Rehearsal) -> Iterator[None]:
    """The real kinds of Istio and of the Prometheus operator, and the mesh's namespaces."""

    async def make() -> None:
        async with await KubeClient.connect(plane.kubeconfig) as kube:
            for name in (ROOT, INGRESS):
                await kube.apply(
                    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager=MANAGER
                )

    with served(plane, crds_of(*KINDS)):
        asyncio.run(make())
        yield


def placed(value: Any, tenant: str) -> Any:
    """Return settings with the name of a tenant in them."""
    if isinstance(value, dict):
        return {key: placed(inner, tenant) for key, inner in value.items()}
    if isinstance(value, list):
        return [placed(inner, tenant) for inner in value]
    return value.replace("TENANT", tenant) if isinstance(value, str) else value


def make_all(given: Object, tenant: str) -> list[Object]:
    """Return all objects of the role for a tenant with one job, and the tenant's NetworkPolicies for it."""
    settings = load_role("mesh", MeshSettings, placed(given, tenant))
    jobs = [(tenant, "bert")]
    return [
        *builders.make_mesh(settings),
        *builders.make_monitors(settings, [tenant]),
        metrics.make_rule(settings.data_plane, settings.telemetry.interval_seconds),
        *traffic.make_tenant_traffic(settings, tenant, jobs),
        *traffic.make_gateway_traffic(settings, [tenant], jobs),
        *(tenancy.make_peer_policy(tenant, peer) for peer in builders.tenant_peers(settings, monitored_from="mon")),
    ]


@pytest.mark.parametrize("name", SETTINGS)
async def test_objects_are_stored_unchanged(name: str, kinds: None, kube: KubeClient, namespace: str) -> None:
    objects = make_all(SETTINGS[name], namespace)
    assert objects
    for obj in objects:
        held = await kube.apply(obj, field_manager=MANAGER)
        # Nothing is dropped: a field that the kind does not know would be.
        assert contains(held["spec"], obj["spec"]), obj["metadata"]["name"]
    for obj in objects:
        meta = obj["metadata"]
        await kube.delete(obj["apiVersion"], obj["kind"], meta["name"], meta["namespace"], propagation="Background")


def contains(held: Any, given: Any) -> bool:
    """Whether all that was given is held; what the API server fills in does not count."""
    if isinstance(given, dict):
        return isinstance(held, dict) and all(key in held and contains(held[key], given[key]) for key in given)
    if isinstance(given, list):
        return isinstance(held, list) and len(held) == len(given) and all(map(contains, held, given))
    return bool(held == given)


WRONG = [
    ("PeerAuthentication/plain-ports", {"selector": None}, "portLevelMtls requires selector"),
    ("WorkloadEntry/bert-west", {"network": None}, "Address is required"),
    ("DestinationRule/jobs", {"trafficPolicy": {"loadBalancer": {"simple": "PEAK_EWMA"}}}, "Unsupported value"),
    ("DestinationRule/jobs", {"trafficPolicy": {"outlierDetection": {"interval": "0s"}}}, "greater than 1ms"),
    ("DestinationRule/jobs", {"trafficPolicy": {"outlierDetection": {"errorRate": 5}}}, "field not declared in schema"),
    ("VirtualService/bert", {"http": [{"timeout": "0s"}]}, "greater than 1ms"),
    ("Telemetry/default", {"metrics": [{"providers": [{}]}]}, "name: Required value"),
    ("EnvoyFilter/failure-percentage", {"configPatches": [{"applyTo": "CLUSTERS"}]}, "Unsupported value"),
]


@pytest.mark.parametrize(("which", "patch", "message"), WRONG)
async def test_invalid_istio_objects_are_rejected(
    which: str, patch: Object, message: str, kinds: None, kube: KubeClient, namespace: str
) -> None:
    objects = {f"{obj['kind']}/{obj['metadata']['name']}": obj for obj in make_all(SETTINGS["everything"], namespace)}
    spec = {key: value for key, value in {**objects[which]["spec"], **patch}.items() if value is not None}
    with pytest.raises(ApiError, match=message):
        await kube.apply({**objects[which], "spec": spec}, field_manager=MANAGER, dry_run=True)


async def test_envoy_configuration_is_not_validated(kinds: None, kube: KubeClient, namespace: str) -> None:
    # Why the values of EnvoyFilters are held against Envoy's API in the unit tests.
    filters = [obj for obj in make_all({}, namespace) if obj["kind"] == "EnvoyFilter"]
    (patch,) = filters[0]["spec"]["configPatches"]
    patch["patch"]["value"] = {"outlier_detektion": {"failure_percentage_treshold": "five"}}
    held = await kube.apply(filters[0], field_manager=MANAGER, dry_run=True)
    assert held["spec"]["configPatches"][0]["patch"]["value"] == patch["patch"]["value"]
