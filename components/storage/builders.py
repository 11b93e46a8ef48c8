"""The objects of the storage role, as pure functions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from components.addon.catalogue import AddonName
from components.objects import LABELS
from components.storage.datasets import Dataset, Load, Mount, Target
from components.storage.runtime import Runtime, Tier
from components.storage.settings import StorageSettings
from inferstack.apimachinery.objects import Object

API_VERSION = "data.fluid.io/v1alpha1"
# A foreground deletion waits for the garbage collector, which notices a new kind only after half a minute.
_BACKGROUND = {"pulumi.com/deletionPropagationPolicy": "background"}
_OTHER_RUNTIMES = ("efc", "goosefs", "jindo", "juicefs", "vineyard")


def make_charts(settings: StorageSettings, *, monitored: bool) -> dict[AddonName, dict[str, Any]]:  # noqa: ARG001
    """Return the add-ons that these settings enable, with their chart values.

    Args:
        settings: the role's settings.
        monitored: unused, since Fluid's chart has no monitors.
    """
    if not settings.enabled:
        return {}
    kubelet = settings.kubelet
    values = {
        # Its job would overwrite the CRDs, which are registered separately.
        "crdUpgrade": {"enabled": False},
        "csi": {
            "kubelet": {
                "rootDir": kubelet.root_dir,
                "certDir": f"{kubelet.root_dir}/pki",
                "kubeConfigFile": kubelet.kubeconfig,
            }
        },
        "runtime": {
            # Off by default; without it no controller handles an AlluxioRuntime.
            "alluxio": {"enabled": True},
            # For Datasets that refer to another Dataset.
            "thin": {"enabled": True},
            **{name: {"enabled": False} for name in _OTHER_RUNTIMES},
        },
    }
    return {"fluid": values}


def make_identity(settings: StorageSettings) -> Object:
    """Return the IAM role association of the caches' pods, which run as the namespace's default service account."""
    meta = {
        "name": "default",
        "namespace": settings.namespace,
        "annotations": {"eks.amazonaws.com/role-arn": settings.role_arn},
    }
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def make_dataset(name: str, dataset: Dataset, runtime: Runtime, namespace: str) -> Object:
    """Return the Dataset with the data."""
    rules = [{"key": rule.key, "operator": "In", "values": list(rule.values)} for rule in runtime.node_affinity]
    spec: Object = {
        "mounts": [_mount(name, mount) for mount in dataset.mounts],
        "accessModes": ["ReadOnlyMany"],
        # Otherwise a node caches only one Dataset.
        "placement": "Shared",
    }
    if rules:
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": rules}]}}
    if runtime.tolerations:
        spec["tolerations"] = [_dump(taint) for taint in runtime.tolerations]
    return _object("Dataset", name, namespace, spec)


def make_runtime(name: str, runtime: Runtime, namespace: str) -> Object:
    """Return the AlluxioRuntime, which binds the Dataset with the same name."""
    spec: Object = {
        "replicas": runtime.replicas,
        "data": {"replicas": runtime.data_replicas},
        "tieredstore": {"levels": [_level(level) for level in runtime.tieredstore]},
        "fuse": {"cleanPolicy": runtime.fuse.clean_policy},
    }
    if runtime.fuse.args:
        spec["fuse"]["args"] = list(runtime.fuse.args)
    for part, resources in (("fuse", runtime.fuse.resources), ("worker", runtime.worker.resources)):
        if asked := {key: value for key, value in _dump(resources).items() if value}:
            spec.setdefault(part, {})["resources"] = asked
    if runtime.run_as:
        spec["runAs"] = _dump(runtime.run_as)
    if runtime.properties:
        spec["properties"] = dict(runtime.properties)
    return _object("AlluxioRuntime", name, namespace, spec)


def make_load(name: str, dataset: Dataset, load: Load, namespace: str) -> Object:
    """Return the DataLoad.

    Its name contains a hash of its content: Fluid runs a DataLoad once, so changed content needs a new DataLoad.
    """
    spec: Object = {
        "dataset": {"name": name, "namespace": namespace},
        "loadMetadata": load.load_metadata,
        "target": [_dump(target) for target in load.target or (Target(),)],
        "policy": load.policy,
    }
    if load.schedule:
        spec["schedule"] = load.schedule
    content = json.dumps([spec, [_dump(mount) for mount in dataset.mounts]], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    return _object("DataLoad", f"{name}-{digest}", namespace, spec)


def make_reference(name: str, tenant: str, settings: StorageSettings) -> Object:
    """Return the Dataset in a tenant's namespace that refers to it; an update waits until it is bound."""
    spec = {
        "mounts": [{"mountPoint": f"dataset://{settings.namespace}/{name}", "name": name}],
        "accessModes": ["ReadOnlyMany"],
    }
    reference = _object("Dataset", name, tenant, spec)
    reference["metadata"]["annotations"] |= {
        "pulumi.com/waitFor": "jsonpath={.status.phase}=Bound",
        "pulumi.com/timeoutSeconds": str(settings.wait_seconds),
    }
    return reference


def _mount(dataset: str, mount: Mount) -> Object:
    options = dict(mount.options)
    if mount.endpoint:
        options["alluxio.underfs.s3.endpoint"] = mount.endpoint
    if mount.region:
        # On Amazon S3 the region is the bucket's; with another endpoint it is the endpoint's.
        options[f"alluxio.underfs.s3.{'endpoint.' if mount.endpoint else ''}region"] = mount.region
    if mount.path_style:
        options["alluxio.underfs.s3.disable.dns.buckets"] = "true"
    name = dataset if mount.path == "/" else mount.path.strip("/").replace("/", "-")
    result: Object = {"mountPoint": mount.mount_point, "name": name, "path": mount.path, "readOnly": True}
    if options:
        result["options"] = options
    if secret := mount.secret:
        keys = {"aws.accessKeyId": secret.access_key_id, "aws.secretKey": secret.secret_access_key}
        # Not among the options, which everybody can read.
        result["encryptOptions"] = [
            {"name": option, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key}}}
            for option, key in keys.items()
        ]
    return result


def _level(tier: Tier) -> Object:
    level: Object = {
        "mediumtype": tier.mediumtype,
        "path": ",".join(tier.paths),
        "high": tier.high,
        "low": tier.low,
        "volumeType": tier.volume_type,
    }
    # A single quota would be divided among the directories.
    several = len(tier.paths) > 1
    return {
        **level,
        **({"quotaList": ",".join([tier.quota] * len(tier.paths))} if several else {"quota": tier.quota}),
    }


def _dump(settings: Any) -> Object:
    dumped: Object = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


def _object(kind: str, name: str, namespace: str, spec: Object) -> Object:
    meta = {"name": name, "namespace": namespace, "labels": dict(LABELS), "annotations": dict(_BACKGROUND)}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": spec}
