"""The table of behaviours, on single objects: docs/providers.md names each of these tests' subjects."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from inferstack.apimachinery.objects import Object
from inferstack.engine.properties import UNKNOWN, Secret
from inferstack.k8s import KubeClient

pytestmark = pytest.mark.rehearsal

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SECRET = "kubernetes:core/v1:Secret"
SERVICE = "kubernetes:core/v1:Service"


def config_map(name: str | None = None, *, annotations: Object | None = None, **data: str) -> Object:
    metadata = {"name": name} if name else {}
    if annotations:
        metadata["annotations"] = annotations  # type: ignore[assignment]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def deployment(name: str, replicas: int = 0, *, annotations: Object | None = None, **labels: str) -> Object:
    labels = labels or {"app": name}
    container = {"name": "c", "image": "registry.invalid/c", "resources": {"requests": {"cpu": "1000m"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **({"annotations": annotations} if annotations else {})},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": dict(labels)}, "spec": {"containers": [container]}},
        },
    }


async def test_unnamed_object_gets_a_name_and_the_default_namespace(
    direct: Any, kube: KubeClient, namespace: str
) -> None:
    resource = await direct.create(CONFIG_MAP, "settings", config_map(a="1"))
    space, name = resource.id.split("/")
    assert space == namespace
    assert re.fullmatch(r"settings-[0-9a-f]{8}", name)
    live = await kube.get("v1", "ConfigMap", name, namespace)
    assert live["data"] == {"a": "1"}
    assert live["metadata"]["annotations"]["pulumi.com/autonamed"] == "true"
    assert resource.state["metadata"]["uid"] == live["metadata"]["uid"]
    assert resource.state["__inputs"]["data"] == {"a": "1"}
    assert resource.state["__initialApiVersion"] == "v1"
    assert "managedFields" not in resource.state["metadata"]
    again = await direct.check(CONFIG_MAP, "settings", config_map(a="2"), resource.inputs)
    assert again["metadata"]["name"] == name


async def test_equal_inputs_are_no_change_after_a_refresh(direct: Any) -> None:
    inputs = deployment("same")
    resource = await direct.create(DEPLOYMENT, "same", inputs)
    assert not (await direct.diff(resource, inputs)).detailedDiff
    refreshed = await direct.read(resource)
    # The server has turned the quantity "1000m" into "1": that is no drift.
    assert not (await direct.diff(refreshed, inputs)).detailedDiff


async def test_change_is_reported_by_path_and_applied(direct: Any, kube: KubeClient, namespace: str) -> None:
    resource = await direct.create(DEPLOYMENT, "d", deployment("d"))
    desired = deployment("d")
    desired["metadata"]["labels"] = {"app.kubernetes.io/name": "d"}
    desired["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.invalid/c:2"
    diff = await direct.diff(resource, desired)
    assert set(diff.detailedDiff) == {"metadata.labels", "spec.template.spec.containers[0].image"}
    assert not diff.replaces
    tried = await direct.update(resource, desired, preview=True)
    assert tried.state["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.invalid/c:2"
    assert (await kube.get("apps/v1", "Deployment", "d", namespace))["metadata"]["generation"] == 1
    resource = await direct.update(resource, desired)
    assert resource.state["metadata"]["labels"] == {"app.kubernetes.io/name": "d"}
    # What the program leaves out again is taken away, though the object was created and not applied at first.
    await direct.update(resource, deployment("d"))
    assert "labels" not in (await kube.get("apps/v1", "Deployment", "d", namespace))["metadata"]


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"spec": {"replicas": 1, "selector": {"matchLabels": {"app": "other"}}}}, "spec.template.metadata.labels"),
        ({"spec": {"replicas": -1}}, "spec.replicas"),
        ({"spec": {"replicaz": 1}}, "spec.replicaz"),
    ],
)
async def test_preview_reports_rejections_of_the_server(direct: Any, broken: Object, field: str) -> None:
    inputs = deployment("broken")
    inputs["spec"] |= broken["spec"]
    with pytest.raises(Exception, match=re.escape(field)):
        await direct.create(DEPLOYMENT, "broken", inputs, preview=True)


async def test_preview_without_dry_run_shows_the_inputs(direct: Any) -> None:
    homeless = config_map("a", a="1")
    homeless["metadata"]["namespace"] = "not-there-yet"
    assert (await direct.create(CONFIG_MAP, "a", homeless, preview=True)).state == homeless
    unknown = config_map("a", a="1")
    unknown["data"] = UNKNOWN
    assert (await direct.create(CONFIG_MAP, "a", unknown, preview=True)).state["data"] is UNKNOWN
    custom = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}}
    assert (await direct.create("kubernetes:example.com/v1:Thing", "a", custom, preview=True)).state["kind"] == "Thing"


@pytest.mark.parametrize(
    ("token", "before", "after", "path", "first"),
    [
        (DEPLOYMENT, deployment("d"), deployment("d", app="d", tier="x"), "spec.selector.matchLabels.tier", True),
        (CONFIG_MAP, config_map("c", a="1"), config_map("c", a="2"), "data.a", True),
        (CONFIG_MAP, config_map(a="1"), config_map(a="2"), "data.a", False),
        (CONFIG_MAP, config_map("c"), config_map("e"), "metadata.name", False),
        (
            "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding",
            {
                "metadata": {"name": "b"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            },
            {
                "metadata": {"name": "b"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            },
            "roleRef.name",
            True,
        ),
    ],
)
async def test_immutable_field_replaces_the_object(
    direct: Any, token: str, before: Object, after: Object, path: str, *, first: bool
) -> None:
    resource = await direct.create(token, "r", before)
    diff = await direct.diff(resource, after)
    assert path in diff.replaces
    assert diff.deleteBeforeReplace is first, "it must be deleted first if and only if it keeps its name"


async def test_unlisted_immutable_field_is_rejected_with_a_remedy(direct: Any) -> None:
    inputs = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "type": "ClusterIP"}}
    resource = await direct.create(SERVICE, "s", inputs)
    changed = {**inputs, "spec": {**inputs["spec"], "clusterIPs": ["10.0.0.77"]}}  # type: ignore[dict-item]
    with pytest.raises(Exception, match=r"spec\.clusterIPs"):
        await direct.update(resource, changed, preview=True)


async def test_existing_object_is_adopted_on_request_only(direct: Any, configured: Any, namespace: str) -> None:
    await direct.create(CONFIG_MAP, "a", config_map("taken", a="1"))
    with pytest.raises(Exception, match=r"already exists(.|\n)*upsertExistingObjects"):
        await direct.create(CONFIG_MAP, "b", config_map("taken", a="1"))
    upserting = await configured(namespace=namespace, upsertExistingObjects="true")
    resource = await upserting.create(CONFIG_MAP, "b", config_map("taken", b="2"))
    assert resource.state["data"] == {"a": "1", "b": "2"}


async def test_conflict_names_the_other_manager_and_a_remedy(direct: Any, kube: KubeClient, namespace: str) -> None:
    resource = await direct.create(CONFIG_MAP, "c", config_map("shared", a="1"))
    resource = await direct.update(resource, config_map("shared", a="2"))
    theirs = {**config_map("shared", a="3"), "metadata": {"name": "shared", "namespace": namespace}}
    await kube.apply(theirs, field_manager="neighbour")
    with pytest.raises(Exception, match=r'(?s)data\.a.*"neighbour".*pulumi\.com/patchForce'):
        await direct.update(resource, config_map("shared", a="4"))
    forced = config_map("shared", annotations={"pulumi.com/patchForce": "true"}, a="4")
    assert (await direct.update(resource, forced)).state["data"] == {"a": "4"}


async def test_ignored_fields_keep_their_manager(direct: Any, kube: KubeClient, namespace: str) -> None:
    resource = await direct.create(DEPLOYMENT, "d", deployment("d", replicas=0))
    resource = await direct.update(resource, deployment("d", replicas=0))
    scale = {"spec": {"replicas": 2}}
    await kube.patch("apps/v1", "Deployment", "d", scale, namespace, field_manager="autoscaler")
    assert not (await direct.diff(resource, deployment("d", replicas=9), ignored=("spec.replicas",))).detailedDiff
    desired = deployment("d", replicas=0, annotations={"pulumi.com/skipAwait": "true"})
    await direct.update(resource, desired, ignored=("spec.replicas",))
    assert (await kube.get("apps/v1", "Deployment", "d", namespace))["spec"]["replicas"] == 2


async def test_wait_timeout_reports_why_and_keeps_the_state(direct: Any, kube: KubeClient, namespace: str) -> None:
    desired = deployment("stuck", replicas=1)
    desired["spec"]["template"]["spec"]["nodeSelector"] = {"no-such": "node"}
    with pytest.raises(Exception, match=r"(?s)0 of 1 pods are available.*Unschedulable: (0/\d+|no) nodes") as caught:
        await direct.create(DEPLOYMENT, "stuck", desired, seconds=3)
    refused: Any = caught.value
    assert refused.state["metadata"]["name"] == "stuck"
    assert refused.failed.id == f"{namespace}/stuck"
    # The next update goes on from that state.
    resource = direct.made(DEPLOYMENT, "stuck", refused.failed.id, desired, refused.state)
    assert (await direct.update(resource, deployment("stuck", replicas=0))).state["spec"]["replicas"] == 0


async def test_update_waits_for_the_new_revision(direct: Any, kube: KubeClient, namespace: str) -> None:
    resource = await direct.create(DEPLOYMENT, "d", deployment("d"))
    desired = deployment("d")
    desired["spec"]["template"]["metadata"]["labels"]["rev"] = "2"
    live = (await direct.update(resource, desired)).state
    assert live["status"]["observedGeneration"] == live["metadata"]["generation"] == 2


async def test_waits_share_one_watch(direct: Any) -> None:
    names = [f"d{i}" for i in range(40)]
    resources = await asyncio.gather(*(direct.create(DEPLOYMENT, name, deployment(name)) for name in names))
    assert all(m.state["status"]["observedGeneration"] == 1 for m in resources)
    await asyncio.gather(*(direct.delete(m) for m in resources))


async def _note_first(kube: KubeClient, namespace: str, name: str, created: asyncio.Event) -> None:
    async for event, _ in kube.watch("v1", "ConfigMap", namespace, fields=f"metadata.name={name}"):
        if event == "ADDED":
            created.set()


async def test_wait_annotations_are_followed(direct: Any, kube: KubeClient, namespace: str) -> None:
    expression = "jsonpath={.data.ready}=yes"
    task = asyncio.create_task(
        direct.create(CONFIG_MAP, "c", config_map("slow", annotations={"pulumi.com/waitFor": expression}))
    )
    created = asyncio.Event()
    watch = asyncio.create_task(_note_first(kube, namespace, "slow", created))
    await asyncio.wait_for(created.wait(), 10)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    assert not task.done()
    await kube.patch("v1", "ConfigMap", "slow", {"data": {"ready": "yes"}}, namespace)
    assert (await asyncio.wait_for(task, 10)).state["data"] == {"ready": "yes"}
    with pytest.raises(Exception, match="waiting for condition=Ready"):
        await direct.create(
            CONFIG_MAP, "e", config_map("e", annotations={"pulumi.com/waitFor": "condition=Ready"}), seconds=0.2
        )
    with pytest.raises(Exception, match='expected a "jsonpath=" or "condition=" prefix'):
        await direct.create(CONFIG_MAP, "f", config_map("f", annotations={"pulumi.com/waitFor": "Ready"}))


async def test_failed_job_ends_the_wait_at_once(direct: Any, kube: KubeClient, namespace: str) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "registry.invalid/c"}]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"activeDeadlineSeconds": 1, "template": {"spec": pod}},
    }
    with pytest.raises(Exception, match="the Job failed: DeadlineExceeded"):
        await direct.create("kubernetes:batch/v1:Job", "j", job, seconds=30)


async def test_service_waits_for_starting_endpoints(direct: Any, kube: KubeClient, namespace: str) -> None:
    spec = {"ports": [{"port": 80}], "selector": {"app": "nobody"}}
    resource = await direct.create(SERVICE, "s", {"metadata": {"name": "s"}, "spec": spec}, seconds=20)
    assert resource.state["spec"]["clusterIP"]
    headless = {"ports": [{"port": 80}], "clusterIP": "None"}
    assert (await direct.create(SERVICE, "h", {"metadata": {"name": "h"}, "spec": headless})).id == f"{namespace}/h"


async def test_deletion_waits_and_names_the_finalizers(direct: Any, kube: KubeClient, namespace: str) -> None:
    resource = await direct.create(CONFIG_MAP, "c", config_map("held", a="1"))
    await kube.patch("v1", "ConfigMap", "held", {"metadata": {"finalizers": ["example.com/hold"]}}, namespace)
    with pytest.raises(Exception, match=r"still being deleted after 0\.5 s; remaining finalizers: .*example.com/hold"):
        await direct.delete(resource, seconds=0.5)
    task = asyncio.create_task(direct.delete(resource))
    await kube.patch("v1", "ConfigMap", "held", {"metadata": {"finalizers": None}}, namespace)
    await asyncio.wait_for(task, 10)
    assert await kube.find("v1", "ConfigMap", "held", namespace) is None
    await direct.delete(resource)  # gone already: done


async def test_patch_owns_its_fields_until_deletion(direct: Any, kube: KubeClient, namespace: str) -> None:
    base = {**config_map("base", theirs="1"), "metadata": {"name": "base", "namespace": namespace}}
    await kube.apply(base, field_manager="neighbour")
    resource = await direct.create(f"{CONFIG_MAP}Patch", "p", config_map("base", ours="2"))
    assert (await kube.get("v1", "ConfigMap", "base", namespace))["data"] == {"theirs": "1", "ours": "2"}
    resource = await direct.update(resource, config_map("base", ours="3"))
    await direct.delete(resource)
    assert (await kube.get("v1", "ConfigMap", "base", namespace))["data"] == {"theirs": "1"}
    with pytest.raises(Exception, match=r"require the `\.metadata\.name` field"):
        await direct.create(f"{CONFIG_MAP}Patch", "q", config_map(a="1"))


async def test_refresh_detects_drift_and_deletion(direct: Any, kube: KubeClient, namespace: str) -> None:
    inputs = config_map("drifting", a="1", b="2")
    resource = await direct.create(CONFIG_MAP, "c", inputs)
    await kube.patch("v1", "ConfigMap", "drifting", {"data": {"a": "9", "c": "theirs"}}, namespace)
    response = await direct.read(resource)
    assert response.inputs["data"] == {"a": "9", "b": "2"}, "what others add is not ours"
    assert set((await direct.diff(response, inputs)).detailedDiff) == {"data.a"}
    await kube.delete("v1", "ConfigMap", "drifting", namespace, propagation="Background")
    assert await direct.read(resource) is None


async def test_import_returns_inputs_without_changes(direct: Any, kube: KubeClient, namespace: str) -> None:
    theirs = {**config_map("old", a="1"), "metadata": {"name": "old", "namespace": namespace, "labels": {"x": "y"}}}
    await kube.apply(theirs, field_manager="kubectl")
    resource = direct.made(CONFIG_MAP, "c", f"{namespace}/old", {}, {})
    live = await direct.read(resource)
    assert live.inputs == theirs
    assert not (await direct.diff(live, theirs)).detailedDiff


async def test_custom_resources_wait_for_their_definition(direct: Any, kube: KubeClient, namespace: str) -> None:
    group = f"{namespace}.example.com"
    schema: Object = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"size": {"type": "integer"}, "free": {"type": "object"}},
            }
        },
    }
    schema["properties"]["spec"]["properties"]["free"]["x_kubernetes_preserve_unknown_fields"] = True
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    token = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
    thing = {
        "apiVersion": f"{group}/v1",
        "kind": "Thing",
        "metadata": {"name": "t"},
        "spec": {"size": 1, "free": {"a": 1}},
    }
    checked = await direct.check(token, "crd", crd)
    # The program's own CRD says that the kind has no namespace before the server knows it.
    assert "namespace" not in (await direct.check(f"kubernetes:{group}/v1:Thing", "t", thing))["metadata"]
    resource = await direct.create(token, "crd", checked)
    thing_resource = await direct.create(f"kubernetes:{group}/v1:Thing", "t", thing)
    assert thing_resource.id == "t"
    assert thing_resource.state["spec"] == {"size": 1, "free": {"a": 1}}
    crd["spec"]["names"]["shortNames"] = ["th"]  # type: ignore[index]
    resource = await direct.update(resource, crd)
    assert resource.state["spec"]["names"]["shortNames"] == ["th"]
    await direct.delete(resource)
    await direct.delete(thing_resource)  # its kind is gone, and it with it


async def test_secrets_stay_secret_in_state_and_messages(direct: Any, kube: KubeClient, namespace: str) -> None:
    inputs = {"metadata": {"name": "s"}, "type": "Opaque", "stringData": {"password": "hunter2-canary"}}
    resource = await direct.create(SECRET, "s", inputs)
    assert resource.state["data"] == Secret({"password": "aHVudGVyMi1jYW5hcnk="})
    assert isinstance(resource.state["__inputs"]["stringData"], Secret)
    hidden = config_map("c", plain="1")
    hidden["data"]["token"] = Secret("canary-token")
    config_map_resource = await direct.create(CONFIG_MAP, "c", hidden)
    assert config_map_resource.state["data"] == {"plain": "1", "token": Secret("canary-token")}
    broken = deployment("d")
    broken["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = Secret("canary-policy")
    with pytest.raises(Exception, match="imagePullPolicy") as caught:
        await direct.create(DEPLOYMENT, "d", broken)
    assert "canary" not in str(caught.value)


async def test_unsupported_feature_is_rejected_by_name(configured: Any, direct: Any) -> None:
    for setting in ("renderYamlToDirectory", "enableServerSideApply"):
        with pytest.raises(Exception, match=f"{setting}: .*vendor's plugin"):
            await configured(**{setting: "false" if setting.startswith("enable") else "out"})
    with pytest.raises(Exception, match="list resources"):
        await direct.check("kubernetes:core/v1:ConfigMapList", "l", {"items": []})
