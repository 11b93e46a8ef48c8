"""The volume that gives pods a Dataset, named and bound to its claim as Fluid does; pure."""

from __future__ import annotations

from inferstack.apimachinery.objects import Object

_CAPACITY = "pvc.fluid.io/resources.requests.storage"
_ANNOTATIONS = {"CreatedBy": "fluid"}
_CLASS = "fluid"


def volume_name(key: str) -> str:
    """Return the name of the PersistentVolume of a Dataset."""
    return key.replace("/", "-")


def make_volume(dataset: Object, home: str) -> Object:
    """Return the PersistentVolume.

    Args:
        dataset: the Dataset that gets the volume.
        home: key of the Dataset that has the data and a runtime: this one, or the one that it references.
    """
    meta = dataset["metadata"]
    name = volume_name(f"{meta['namespace']}/{meta['name']}")
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": _labels(meta), "annotations": _ANNOTATIONS},
        "spec": {
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
            },
            "accessModes": _modes(dataset),
            "capacity": {"storage": _capacity(dataset)},
            "storageClassName": _CLASS,
            "persistentVolumeReclaimPolicy": "Retain",
            "csi": {
                "driver": "fuse.csi.fluid.io",
                "volumeHandle": name,
                "volumeAttributes": {
                    "fluid_path": f"/runtime-mnt/alluxio/{home}/alluxio-fuse",
                    "mount_type": "fuse.alluxio-fuse",
                    "runtime_namespace": home.partition("/")[0],
                    "runtime_name": home.partition("/")[2],
                },
            },
        },
    }


def make_claim(dataset: Object) -> Object:
    """Return the PersistentVolumeClaim, which has the Dataset's name."""
    meta = dataset["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": _labels(meta),
            "annotations": _ANNOTATIONS,
        },
        "spec": {
            "volumeName": volume_name(f"{meta['namespace']}/{meta['name']}"),
            "storageClassName": _CLASS,
            "accessModes": _modes(dataset),
            "resources": {"requests": {"storage": _capacity(dataset)}},
        },
    }


def uses(pod: Object, claim: str) -> bool:
    """Return whether a pod that has not finished mounts a claim of its namespace."""
    volumes = pod["spec"].get("volumes") or []
    mounts = any((volume.get("persistentVolumeClaim") or {}).get("claimName") == claim for volume in volumes)
    return mounts and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _modes(dataset: Object) -> list[str]:
    return (dataset.get("spec") or {}).get("accessModes") or ["ReadOnlyMany"]


def _capacity(dataset: Object) -> str:
    # A claim must request a size. No bucket reaches this one, so it limits nothing.
    return str((dataset["metadata"].get("annotations") or {}).get(_CAPACITY, "100Pi"))


def _labels(meta: Object) -> dict[str, str]:
    identity = f"{meta['namespace']}-{meta['name']}"
    # Fluid takes the Dataset's uid where the name is too long for a label.
    label = f"fluid.io/s-{identity}"
    long = len(label) >= 63
    return {
        f"fluid.io/s-{meta['uid']}" if long else label: "true",
        "fluid.io/dataset-id": meta["uid"] if long else identity,
    }
