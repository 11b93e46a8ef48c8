"""The state of an object, and the conversion of live objects to the form of a program's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from inferstack.apimachinery.quantity import parse_quantity
from inferstack.engine.properties import Properties, Secret, has_secret, reveal

AUTONAMED = "pulumi.com/autonamed"
DELETION_PROPAGATION = "pulumi.com/deletionPropagationPolicy"
PATCH_FIELD_MANAGER = "pulumi.com/patchFieldManager"
PATCH_FORCE = "pulumi.com/patchForce"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
WAIT_FOR = "pulumi.com/waitFor"

_INPUTS = "__inputs"
_API_VERSION = "__initialApiVersion"
_FIELD_MANAGER = "__fieldManager"
_SERVER_FIELDS = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)


def metadata(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object's metadata, or an empty dict if the metadata is missing or unknown."""
    value = obj.get("metadata")
    return value if isinstance(value, dict) else {}


def annotation(obj: Mapping[str, Any], name: str) -> str | None:
    """Return one annotation of an object."""
    annotations = metadata(obj).get("annotations")
    value = annotations.get(name) if isinstance(annotations, dict) else None
    return value if isinstance(value, str) else None


def resource_id(obj: Mapping[str, Any]) -> str:
    """Return the Pulumi ID of an object: ``namespace/name``, or only the name."""
    meta = metadata(obj)
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def parse_resource_id(resource_id: str) -> tuple[str | None, str]:
    """Return the namespace and name of a Pulumi ID."""
    namespace, slash, name = resource_id.partition("/")
    return (namespace, name) if slash else (None, namespace)


def checkpoint(
    inputs: Mapping[str, Any], live: Mapping[str, Any], secrets_from: Properties, manager: str
) -> Properties:
    """Return the state of an object: the live object, the inputs and the field manager.

    Args:
        inputs: the inputs in plain form.
        live: the object as returned by the server.
        secrets_from: the inputs with `Secret` marks; the marks are applied to inputs and live object.
        manager: the field manager that applies this object.
    """
    outputs = annotate_secrets(_without_managed_fields(live), secrets_from)
    if live.get("kind") == "Secret" and isinstance(outputs.get("data"), dict):
        outputs["data"] = Secret(outputs["data"])
    outputs[_INPUTS] = annotate_secrets(dict(inputs), secrets_from)
    outputs[_API_VERSION] = inputs.get("apiVersion", "")
    outputs[_FIELD_MANAGER] = manager
    return outputs


def _without_managed_fields(live: Mapping[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in metadata(live).items() if key != "managedFields"}
    return {**live, "metadata": meta}


def manager_of(state: Mapping[str, Any]) -> str | None:
    """Return the field manager in a state."""
    manager = state.get(_FIELD_MANAGER)
    return manager if isinstance(manager, str) else None


def live_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the live object in a state, in plain form."""
    return {k: v for k, v in reveal(dict(state)).items() if k not in (_INPUTS, _API_VERSION, _FIELD_MANAGER)}


def inputs_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs in a state, in plain form."""
    inputs = reveal(state.get(_INPUTS) or {})
    return inputs if isinstance(inputs, dict) else {}


def annotate_secrets(values: Mapping[str, Any], marked: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values with the `Secret` marks of the same paths in ``marked``.

    A list that contains a secret becomes secret as a whole, since the server may reorder the list. The data of a
    ``Secret`` is always secret.
    """
    result = dict(values)
    if result.get("kind") == "Secret":
        for key in ("data", "stringData"):
            if result.get(key) is not None and not isinstance(result[key], Secret):
                result[key] = Secret(result[key])
        marked = {k: v for k, v in marked.items() if k not in ("data", "stringData")}
    for key, mark in marked.items():
        if key not in result or isinstance(result[key], Secret):
            continue
        if isinstance(result[key], dict) and isinstance(mark, dict):
            result[key] = annotate_secrets(result[key], mark)
        elif has_secret(mark):
            result[key] = Secret(result[key])
    return result


def normalize(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs without the fields that only the server writes."""
    meta = inputs.get("metadata")
    if isinstance(meta, dict) and not meta.keys().isdisjoint(_SERVER_FIELDS):
        return {**inputs, "metadata": {k: v for k, v in meta.items() if k not in _SERVER_FIELDS}}
    return inputs


def imported_inputs(live: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of an imported object: the live object without the fields that the server sets."""
    inputs = normalize({key: value for key, value in live.items() if key != "status"})
    annotations = {
        key: value
        for key, value in (metadata(inputs).get("annotations") or {}).items()
        if key not in ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")
    }
    meta = {key: value for key, value in metadata(inputs).items() if key != "annotations"}
    if annotations:
        meta["annotations"] = annotations
    return {**inputs, "metadata": meta}


# Values under these keys are resource quantities, which the server rewrites in canonical form.
_QUANTITIES = frozenset(
    [
        "allocatable",
        "averageValue",
        "capacity",
        "default",
        "defaultRequest",
        "divisor",
        "hard",
        "limits",
        "max",
        "maxLimitRequestRatio",
        "min",
        "overhead",
        "requests",
        "sizeLimit",
    ]
)


def prune(live: Any, inputs: Any, *, quantities: bool = False) -> Any:
    """Reduce a live value to the shape of the inputs; an equivalent value keeps the form of the inputs."""
    if isinstance(live, dict) and isinstance(inputs, dict):
        return {
            key: prune(live[key], value, quantities=quantities or key in _QUANTITIES) if key in live else value
            for key, value in inputs.items()
            if key in live or _empty(value)  # the server omits empty values
        }
    if isinstance(live, list) and isinstance(inputs, list):
        return _prune_list(live, inputs, quantities=quantities)
    if quantities and live != inputs and quantity(live) is not None and quantity(live) == quantity(inputs):
        return inputs
    return live


def _empty(value: Any) -> bool:
    return value is None or value in ({}, [])


def _prune_list(live: list[Any], inputs: list[Any], *, quantities: bool) -> list[Any]:
    """Prune a list: match named elements by name and others by position, and omit elements added by others."""
    names = [item.get("name") if isinstance(item, dict) else None for item in inputs]
    if all(names) and len(set(names)) == len(names):
        by_name = {item.get("name"): item for item in live if isinstance(item, dict)}
        pairs = [(by_name[name], given) for name, given in zip(names, inputs, strict=True) if name in by_name]
    else:
        pairs = list(zip(live, inputs, strict=False))
    return [prune(value, given, quantities=quantities) for value, given in pairs]


def quantity(value: Any) -> Fraction | None:
    """Return the number of a resource quantity (``500m``, ``1Gi``), or None if the value is not a quantity."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return parse_quantity(str(value))
    except ValueError:
        return None
