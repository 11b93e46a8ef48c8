"""Diff of inputs: the properties that change, and whether the change replaces the object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from inferstack.engine.properties import UNKNOWN
from standins.kubernetes.objects import AUTONAMED, annotation, metadata
from standins.kubernetes.tokens import Gvk

Path = tuple[str | int, ...]

_SELECTOR: Final = ("spec.selector",)
_JOB: Final = ("spec.completions", "spec.parallelism", "spec.selector", "spec.template")
_STATEFUL_SET: Final = (
    "spec.podManagementPolicy",
    "spec.revisionHistoryLimit",
    "spec.selector",
    "spec.serviceName",
    "spec.volumeClaimTemplates",
)
_CONTAINER_FIELDS: Final = [
    "args",
    "command",
    "env",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
]
_POD_FIELDS: Final = [
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostname",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "volumes",
]
_VOLUME_FIELDS: Final = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
]

# The vendor's table (provider/pkg/provider/diff.go): a change of these fields replaces the object. The API
# server rejects a change of another immutable field, also in a preview.
_FORCE_NEW: Final[dict[str, tuple[str, ...]]] = {
    "apps/v1/DaemonSet": _SELECTOR,
    "apps/v1/Deployment": _SELECTOR,
    "apps/v1/StatefulSet": _STATEFUL_SET,
    "batch/v1/Job": _JOB,
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding": ("roleRef",),
    "rbac.authorization.k8s.io/v1/RoleBinding": ("roleRef",),
    "storage.k8s.io/v1/StorageClass": ("parameters", "provisioner"),
    "v1/PersistentVolume": tuple(f"spec.{name}" for name in _VOLUME_FIELDS),
    "v1/PersistentVolumeClaim": (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeName",
    ),
    "v1/Pod": (
        *(f"spec.{name}" for name in _POD_FIELDS),
        *(f"spec.{kind}[*].{name}" for kind in ("containers", "initContainers") for name in _CONTAINER_FIELDS),
    ),
    "v1/ResourceQuota": ("spec.scopes",),
    "v1/Secret": ("type",),
    "v1/Service": ("spec.clusterIP",),
}
_IDENTITY: Final = ("metadata.name", "metadata.namespace")


@dataclass(frozen=True)
class Change:
    """One property that changes."""

    kind: str
    """``add``, ``delete`` or ``update``."""
    replace: bool


@dataclass(frozen=True)
class ObjectDiff:
    """The changes of an update."""

    changes: dict[str, Change] = field(default_factory=dict)
    """By property path in Pulumi's form, such as ``spec.containers[0].image``."""
    delete_first: bool = False
    """Whether a replacement would have the same name. It is set even if no change requires a replacement, because
    the engine can have another reason (``--replace``, or a replacement that was interrupted after the deletion)."""

    @property
    def replaces(self) -> list[str]:
        """The paths whose change replaces the object."""
        return [path for path, change in self.changes.items() if change.replace]


def force_new(
    gvk: Gvk, inputs: Mapping[str, Any], *, config_map_mutable: bool, secret_mutable: bool
) -> tuple[str, ...]:
    """Return the fields of a kind whose change replaces the object."""
    immutable = inputs.get("immutable") is True
    if str(gvk) == "v1/Secret" and (immutable or not secret_mutable):
        return (*_IDENTITY, "type", "stringData", "data")
    if str(gvk) == "v1/ConfigMap" and (immutable or not config_map_mutable):
        return (*_IDENTITY, "binaryData", "data")
    return (*_IDENTITY, *_FORCE_NEW.get(str(gvk), ()))


def compare(
    old: Mapping[str, Any], new: Mapping[str, Any], force_new_fields: tuple[str, ...], ignored: tuple[str, ...] = ()
) -> ObjectDiff:
    """Compare the inputs of the last update with new ones, both in plain form.

    Args:
        old: inputs of the last update or refresh.
        new: inputs of the program.
        force_new_fields: result of `force_new`; for a Patch, only its name and namespace.
        ignored: property paths of ``ignoreChanges``.
    """
    changes = {
        text: Change(kind, any(_is_force_new(force, path) for force in force_new_fields))
        for path, kind in _walk((), old, new)
        if not any(_is_within(text_path, path) for text_path in ignored)
        for text in (render(path),)
    }
    keeps_name = (
        annotation(new, AUTONAMED) != "true"
        and bool(metadata(new).get("name"))
        and metadata(new).get("name") == metadata(old).get("name")
        and metadata(new).get("namespace") == metadata(old).get("namespace")
    )
    return ObjectDiff(changes, delete_first=keeps_name)


def _walk(path: Path, old: Any, new: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            before, after = old.get(key), new.get(key)
            if before is None and after is not None:
                yield (*path, key), "add"
            elif before is not None and after is None:
                yield (*path, key), "delete"
            elif before is not None:
                yield from _walk((*path, key), before, after)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            if index >= len(old):
                yield (*path, index), "add"
            elif index >= len(new):
                yield (*path, index), "delete"
            else:
                yield from _walk((*path, index), old[index], new[index])
    elif new is UNKNOWN or old != new or isinstance(old, bool) != isinstance(new, bool):
        yield path, "update"


def _is_force_new(force: str, path: Path) -> bool:
    """Return whether a path is a force-new field or is above or below one."""
    pattern = force.replace("[*]", ".*").split(".")
    return all(expected in ("*", str(part)) for expected, part in zip(pattern, path, strict=False))


def render(path: Path) -> str:
    """Format a property path in Pulumi's syntax."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif any(c in part for c in '."[]'):
            escaped = part.replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{part}" if text else part
    return text


def parse(text: str) -> Path:
    """Parse a property path in Pulumi's syntax. ``*`` is kept as a wildcard."""
    parts: list[str | int] = []
    index = 0
    while index < len(text):
        if text[index] == "[":
            end = text.index('"]', index + 1) + 1 if text[index + 1] == '"' else text.index("]", index)
            inner = text[index + 1 : end]
            if inner.startswith('"'):
                parts.append(inner[1:-1].replace('\\"', '"'))
            else:
                parts.append(int(inner) if inner.isdigit() else inner)
            index = end + 1
        elif text[index] == ".":
            index += 1
        else:
            end = min(
                (position for position in (text.find(".", index), text.find("[", index)) if position >= 0),
                default=len(text),
            )
            parts.append(text[index:end])
            index = end
    return tuple(parts)


def _is_within(text: str, path: Path) -> bool:
    pattern = parse(text)
    return len(pattern) <= len(path) and all(
        expected in ("*", part) for expected, part in zip(pattern, path, strict=False)
    )
