"""Check a resource's inputs: assign a name and a namespace, and remove fields that only the server writes."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from inferstack.engine.properties import UNKNOWN, Properties
from standins.kubernetes import tokens
from standins.kubernetes.objects import AUTONAMED, annotation, metadata, normalize

_SUFFIX_BYTES = 4


class InputError(Exception):
    """The inputs are invalid; the message names the field."""


def unique_suffix(seed: bytes, name: str) -> str:
    """Return eight hexadecimal digits: derived from the engine's seed, so that plan and update agree, or random."""
    if not seed:
        return secrets.token_hex(_SUFFIX_BYTES)
    return hashlib.blake2b(name.encode(), key=seed[:64], digest_size=_SUFFIX_BYTES).hexdigest()


def is_named(inputs: Properties) -> bool:
    """Return whether inputs have a name, which may be an unknown value."""
    return bool(metadata(inputs).get("name"))


def assign_name(inputs: Properties, old: Properties, urn: str, seed: bytes, proposed: str | None) -> Properties:
    """Assign a name to unnamed inputs: the previous name, the engine's proposal, or the resource's name with a suffix.

    Args:
        inputs: new inputs.
        old: inputs of the last update, empty for a new resource.
        urn: URN of the resource.
        seed: random seed of the engine; may be empty.
        proposed: name proposed by the engine (``pulumi:autonaming``); "" if autonaming is disabled, None by default.

    Raises:
        InputError: the inputs have no name and autonaming is disabled.
    """
    if inputs.get("metadata") is UNKNOWN or is_named(inputs):
        return inputs
    if metadata(inputs).get("generateName"):
        raise InputError("metadata.generateName: not supported with server-side apply")
    if old:
        if annotation(old, AUTONAMED) != "true":
            return inputs
        name = metadata(old)["name"]
    elif proposed == "":
        raise InputError("metadata.name: autonaming is disabled, so the resource needs a name")
    else:
        short = tokens.name_of(urn)
        name = proposed or f"{short}-{unique_suffix(seed, short)}"
    meta = metadata(inputs)
    annotations = meta.get("annotations")
    marked = {**(annotations if isinstance(annotations, dict) else {}), AUTONAMED: "true"}
    return {**inputs, "metadata": {**meta, "name": name, "annotations": marked}}


def assign_namespace(inputs: Properties, namespace: str) -> Properties:
    """Assign the provider's namespace to inputs without a namespace."""
    if inputs.get("metadata") is UNKNOWN or metadata(inputs).get("namespace"):
        return inputs
    return {**inputs, "metadata": {**metadata(inputs), "namespace": namespace}}


def normalize_inputs(inputs: Properties, urn: str) -> Properties:
    """Remove server-written fields from inputs and add apiVersion and kind.

    Raises:
        InputError: the resource is a list or an unnamed Patch.
    """
    if tokens.is_list(urn):
        raise InputError(
            "list resources exist for compatibility with YAML manifests and Helm charts, and cannot be created "
            "directly. Use the underlying resource type instead"
        )
    inputs = normalize(inputs)
    if "apiVersion" not in inputs or "kind" not in inputs:
        gvk = tokens.gvk_of_token(tokens.type_of(urn))
        inputs = {"apiVersion": gvk.api_version, "kind": gvk.kind, **inputs}
    if tokens.is_patch(urn, _text(inputs["kind"])) and not is_named(inputs) and inputs.get("metadata") is not UNKNOWN:
        raise InputError("metadata.name: patch resources require the `.metadata.name` field to be set")
    return inputs


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
