"""The rules as the security role installs them, at a real API server: denied, warned about and admitted requests."""

from __future__ import annotations

import asyncio
import copy
import json
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.security.builders import make_rules
from components.security.settings import SecuritySettings
from components.settings import load_role
from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from inferstack.toolchain import binaries
from tests.unit.policy.test_rules import TODAY

pytestmark = pytest.mark.rehearsal

MANAGER = "test"
SAFE: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
SIZE = {"cpu": "1", "memory": "1Gi"}
IMAGE = f"ghcr.io/example/server:v1@sha256:{'a' * 64}"
FLUID = "system:serviceaccount:fluid-system:thinruntime-controller"


@dataclass(frozen=True)
class Places:
    """Namespaces, each with a label that no other test's have: the policies hold nowhere else."""

    label: str
    tenant: str
    other: str
    exempt: str


@pytest.fixture
async def places(kube: KubeClient) -> AsyncIterator[Places]:
    """A tenant's namespace, somebody's and an exempt one."""
    end = secrets.token_hex(3)
    places = Places(f"test/rules-{end}", f"tenant-{end}", f"other-{end}", f"system-{end}")
    for name in (places.tenant, places.other, places.exempt):
        labels = {places.label: "true"} | ({"inferstack.dev/tenant": name} if name == places.tenant else {})
        meta = {"name": name, "labels": labels}
        await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta}, field_manager=MANAGER)
    yield places
    for name in (places.tenant, places.other, places.exempt):
        await kube.delete("v1", "Namespace", name, propagation="Background")


def pod(namespace: str, *, without: str = "", **meta: Any) -> Object:
    """Return a pod that breaks no rule, but for what its container's security context is made to lack."""
    context = {key: value for key, value in SAFE.items() if key != without}
    size = {"requests": SIZE, "limits": SIZE}
    container = {"name": "server", "image": IMAGE, "resources": size, "securityContext": context}
    named = {"name": f"p-{secrets.token_hex(3)}", "namespace": namespace, **meta}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": {"containers": [container]}}


def privileged(namespace: str, **meta: Any) -> Object:
    """Return a pod that breaks a rule for everybody, and one for tenants."""
    manifest = pod(namespace, without="allowPrivilegeEscalation", **meta)
    manifest["spec"]["containers"][0]["securityContext"]["privileged"] = True
    return manifest


def deployment(namespace: str) -> Object:
    """Return a Deployment of pods that do not drop their capabilities; it breaks no other rule."""
    labels = {"app.kubernetes.io/name": "server", "app.kubernetes.io/part-of": "test"}
    template = {"metadata": {"labels": labels}, "spec": pod(namespace, without="capabilities")["spec"]}
    probe = {"tcpSocket": {"port": 80}}
    template["spec"]["containers"][0] |= {"readinessProbe": probe, "livenessProbe": probe}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "server", "namespace": namespace, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def changed(manifest: Object, image: str) -> Object:
    """Return a pod with another image."""
    copied = copy.deepcopy(manifest)
    copied["spec"]["containers"][0]["image"] = image
    return copied


def apply(kubeconfig: Path, manifest: Object, *flags: str) -> tuple[int, str]:
    """Apply a manifest as a person does; return kubectl's exit code and what it said."""
    binary = binaries.locate("kubectl")
    assert binary
    done = subprocess.run(
        [binary, "--kubeconfig", kubeconfig, "apply", "-f", "-", *flags],
        input=json.dumps(manifest),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@asynccontextmanager
async def in_force(kube: KubeClient, kubeconfig: Path, places: Places, **policies: Any) -> AsyncIterator[None]:
    """Have the role's policies at the API server, which learns of them in the background."""
    given = {"policies": {"exemptNamespaces": [places.exempt], **policies}}
    pairs = make_rules(load_role("security", SecuritySettings, given), TODAY)
    for pair in pairs:
        for manifest in pair:
            await kube.create(_narrowed(manifest, places.label), field_manager=MANAGER)
    try:
        probes = [privileged(places.tenant), privileged(places.other)]
        async with asyncio.timeout(60):
            while not all(_known(kubeconfig, probe) for probe in probes):  # noqa: ASYNC110  # no event reports it
                await asyncio.sleep(0.2)
        yield
    finally:
        for pair in pairs:
            for manifest in reversed(pair):
                # In the background: else it stays until the garbage collector has looked at it.
                name = manifest["metadata"]["name"]
                await kube.delete(manifest["apiVersion"], manifest["kind"], name, propagation="Background")


def _known(kubeconfig: Path, probe: Object) -> bool:
    return "ValidatingAdmissionPolicy" in apply(kubeconfig, probe, "--dry-run=server")[1]


def _narrowed(manifest: Object, label: str) -> Object:
    """Return a binding that holds in this test's namespaces only."""
    if manifest["kind"].endswith("Binding"):
        manifest = copy.deepcopy(manifest)
        selector = manifest["spec"]["matchResources"]["namespaceSelector"]
        selector["matchExpressions"].append({"key": label, "operator": "Exists"})
    return manifest


async def test_violation_is_rejected_with_the_name_of_the_rule(
    kube: KubeClient, kubeconfig: Path, places: Places
) -> None:
    async with in_force(kube, kubeconfig, places):
        code, output = apply(kubeconfig, privileged(places.other))
        assert code == 1
        assert "pods-not-privileged: server: " in output

        code, output = apply(kubeconfig, pod(places.tenant, without="capabilities"))
        assert code == 1
        assert "pods-drop-capabilities: server: " in output
        # A rule for tenants is none for others, and nothing holds in an exempt namespace.
        assert apply(kubeconfig, pod(places.other, without="capabilities"))[0] == 0
        assert apply(kubeconfig, privileged(places.exempt))[0] == 0
        code, output = apply(kubeconfig, pod(places.tenant))
        assert code == 0
        assert "Warning" not in output

        # The controllers make of this what breaks the rule: it is refused by its template already.
        code, output = apply(kubeconfig, deployment(places.tenant))
        assert code == 1
        assert "pods-drop-capabilities: server: " in output

        fluid = ("--as", FLUID, "--as-group", "system:masters")
        assert apply(kubeconfig, pod(places.tenant, without="capabilities"), *fluid)[0] == 0
        stranger = ("--as", "system:serviceaccount:other:thinruntime-controller", "--as-group", "system:masters")
        assert apply(kubeconfig, pod(places.tenant, without="capabilities"), *stranger)[0] == 1


async def test_advisory_enforcement_warns_and_admits(kube: KubeClient, kubeconfig: Path, places: Places) -> None:
    strict = {"pods-run-as-non-root": "mandatory"}
    async with in_force(kube, kubeconfig, places, enforcement="advisory", levels=strict):
        code, output = apply(kubeconfig, pod(places.tenant, without="capabilities"))
        assert code == 0
        assert "Warning: Validation failed for ValidatingAdmissionPolicy 'inferstack-rules-tenants-advisory'" in output
        assert "pods-drop-capabilities: server: " in output
        code, output = apply(kubeconfig, pod(places.tenant, without="runAsNonRoot"))
        assert code == 1
        assert "pods-run-as-non-root: " in output


async def test_exception_admits_only_its_resource(kube: KubeClient, kubeconfig: Path, places: Places) -> None:
    leave = {
        "rule": "pods-drop-capabilities",
        "resource": f"Pod {places.tenant}/profiler*",
        "owner": "nlp-engineers",
        "reason": "its profiler reads the counters of the CPU",
        "expires": TODAY,
    }
    whole = {**leave, "resource": f"Deployment {places.tenant}/server"}
    async with in_force(kube, kubeconfig, places, exceptions=[leave, whole]):
        assert apply(kubeconfig, pod(places.tenant, without="capabilities", name="profiler-1"))[0] == 0
        assert apply(kubeconfig, pod(places.tenant, without="capabilities", name="other-1"))[0] == 1
        assert apply(kubeconfig, deployment(places.tenant))[0] == 0
        assert apply(kubeconfig, pod(places.tenant, without="capabilities", name="server-5d9c7b-x2x4"))[0] == 0
        code, output = apply(kubeconfig, pod(places.tenant, without="runAsNonRoot", name="profiler-2"))
        assert code == 1
        assert "pods-run-as-non-root: " in output


async def test_existing_violation_may_be_updated_and_deleted_but_not_copied(
    kube: KubeClient, kubeconfig: Path, places: Places
) -> None:
    before = privileged(places.tenant)
    exposed: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "exposed", "namespace": places.other, "finalizers": ["example.org/held"]},
        "spec": {"ports": [{"port": 80}], "externalIPs": ["192.0.2.1"]},
    }
    other = IMAGE.replace("server", "another")
    name = before["metadata"]["name"]
    for manifest in (before, exposed):
        await kube.create(manifest, field_manager=MANAGER)
    async with in_force(kube, kubeconfig, places):
        await kube.patch("v1", "Pod", name, {"metadata": {"labels": {"seen": "yes"}}}, places.tenant)
        code, output = apply(kubeconfig, changed(before, other))
        assert code == 1
        assert "ValidatingAdmissionPolicy" in output
        code, output = apply(kubeconfig, {**exposed, "spec": {**exposed["spec"], "externalIPs": ["192.0.2.2"]}})
        assert code == 1
        assert "services-no-external-ips: " in output
        await kube.delete("v1", "Service", "exposed", places.other)
        await kube.patch("v1", "Service", "exposed", {"metadata": {"finalizers": None}}, places.other)
        assert await kube.find("v1", "Service", "exposed", places.other) is None
