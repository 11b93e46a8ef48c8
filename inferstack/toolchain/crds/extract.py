"""Extraction of CRDs from a module's zip file, without fields that have no effect."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from inferstack.errors import UserError
from inferstack.toolchain.crds.modules import Source
from inferstack.toolchain.documents import crds_in

Crd = dict[str, Any]

_KEPT_ANNOTATIONS = frozenset({"api-approved.kubernetes.io"})
# Keys whose values are schemas: by name, in a list, or a single one.
_BY_NAME = frozenset({"properties", "patternProperties", "definitions"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf"})
_SINGLE = frozenset({"items", "additionalProperties", "not"})


def extract(archive: Path, source: Source, *, described: bool) -> dict[str, Crd]:
    """Return the CRDs of a module by name.

    Args:
        archive: the module's zip file.
        source: gives the ``files`` to read.
        described: whether to keep the descriptions of schemas.

    Raises:
        UserError: one of the ``files`` matches nothing, or they hold no CRD.
    """
    crds: dict[str, Crd] = {}
    with zipfile.ZipFile(archive) as opened:
        for member in _members(opened, source):
            for crd in crds_in(opened.read(member)):
                crds[crd["metadata"]["name"]] = slim(crd, described=described)
    if not crds:
        raise UserError(
            f"{source.module}@{source.version} has no CRD in {', '.join(source.files)}: {_fix_hint(source)}"
        )
    return crds


def slim(crd: Crd, *, described: bool) -> Crd:
    """Return a CRD without status, without annotations of generators and, by default, without descriptions."""
    meta = crd["metadata"]
    annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key in _KEPT_ANNOTATIONS}
    labels = meta.get("labels") or {}
    result = {
        "name": meta["name"],
        **({"labels": labels} if labels else {}),
        **({"annotations": annotations} if annotations else {}),
    }
    spec = crd["spec"]
    if not described:
        spec = {**spec, "versions": [_slim_version(version) for version in spec["versions"]]}
    return {"apiVersion": crd["apiVersion"], "kind": crd["kind"], "metadata": result, "spec": spec}


def _slim_version(version: dict[str, Any]) -> dict[str, Any]:
    schema = version.get("schema")
    if not schema:
        return version
    return {**version, "schema": {**schema, "openAPIV3Schema": _without_descriptions(schema["openAPIV3Schema"])}}


def _without_descriptions(schema: Any) -> Any:
    """Remove the descriptions of schemas, but not fields, defaults and enum values of that name."""
    if not isinstance(schema, dict):  # additionalProperties may be a boolean
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _BY_NAME:
            result[key] = {name: _without_descriptions(inner) for name, inner in value.items()}
        elif key in _LISTS:
            result[key] = [_without_descriptions(inner) for inner in value]
        elif key in _SINGLE:
            result[key] = _without_descriptions(value)
        elif key != "description":
            result[key] = value
    return result


def _members(opened: zipfile.ZipFile, source: Source) -> Iterator[str]:
    prefix = f"{source.module}@{source.version}/"
    places = {name: PurePosixPath("/", name.removeprefix(prefix)) for name in opened.namelist()}
    for pattern in source.files:
        # A leading slash anchors the pattern at the root of the module.
        matching = sorted(name for name, place in places.items() if place.match(f"/{pattern}"))
        if not matching:
            raise UserError(f"{source.module}@{source.version} has no file {pattern}: {_fix_hint(source)}")
        yield from matching


def _fix_hint(source: Source) -> str:
    return f'correct the entry "{source.addon}" below crds in versions.yaml.'
