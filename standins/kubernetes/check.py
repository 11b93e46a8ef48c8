"""What a program's inputs become before they are compared or applied: a name, a namespace, no server fields."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from inferstack.engine.properties import UNKNOWN, Properties
from standins.kubernetes import tokens
from standins.kubernetes.objects import AUTONAMED, annotation, metadata, normalize

_SUFFIX_BYTES = 4


class InputError(Exception):
    """Inputs that cannot become an object; the message names the field."""


def unique_suffix(seed: bytes, name: str) -> str:
    """Return eight hexadecimal digits: from the engine's seed, so that a plan and its update agree, else random."""
    if not seed:
        return secrets.token_hex(_SUFFIX_BYTES)
    return hashlib.blake2b(name.encode(), key=seed[:64], digest_size=_SUFFIX_BYTES).hexdigest()


def is_named(inputs: Properties) -> bool:
    """Return whether inputs have a name, known or not yet known."""
    return bool(metadata(inputs).get("name"))


def with_name(inputs: Properties, old: Properties, urn: str, seed: bytes, proposed: str | None) -> Properties:
    """Give unnamed inputs a name: the one chosen before, the one the engine proposes, or the resource's with a suffix.

    Args:
        inputs: the new inputs.
        old: the inputs of the last update, empty for a new resource.
        urn: the resource.
        seed: the engine's random seed, may be empty.
        proposed: the engine's name for it (``pulumi:autonaming``), "" where naming is switched off, None by default.

    Raises:
        InputError: naming is switched off and the inputs have no name.
    """
    if inputs.get("metadata") is UNKNOWN or is_named(inputs):
        return inputs
    if metadata(inputs).get("generateName"):
        raise InputError("metadata.generateName: it is not supported in Server-Side Apply mode")
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


def with_namespace(inputs: Properties, namespace: str) -> Properties:
    """Give namespaced inputs the provider's namespace where they have none."""
    if inputs.get("metadata") is UNKNOWN or metadata(inputs).get("namespace"):
        return inputs
    return {**inputs, "metadata": {**metadata(inputs), "namespace": namespace}}


def prepared(inputs: Properties, urn: str) -> Properties:
    """Return inputs without server fields and with apiVersion and kind.

    Raises:
        InputError: the resource is a list, or a Patch without a name.
    """
    if tokens.is_list(urn):
        raise InputError(
            "list resources exist for compatibility with YAML manifests and Helm charts, and cannot be created "
            "directly. Use the underlying resource type instead"
        )
    inputs = normalize(inputs)
    if "apiVersion" not in inputs or "kind" not in inputs:
        found = tokens.gvk_of_token(tokens.type_of(urn))
        inputs = {"apiVersion": found.api_version, "kind": found.kind, **inputs}
    if tokens.is_patch(urn, _text(inputs["kind"])) and not is_named(inputs) and inputs.get("metadata") is not UNKNOWN:
        raise InputError("metadata.name: patch resources require the `.metadata.name` field to be set")
    return inputs


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
