"""The software bill of materials (SBOM) in CycloneDX 1.6. Pure.

The document is reproducible byte for byte: its serial number is derived from the content, and it has no timestamp.
Dependencies between components are omitted, because neither lock files nor go.sum record them exactly.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from inferstack.supply.images import Image, images
from inferstack.supply.locks import Package
from inferstack.supply.modules import Module, of_crds

Component = dict[str, Any]
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "inferstack.dev")
_ALGORITHMS = {"sha256": "SHA-256", "sha512": "SHA-512"}


def make_bom(
    name: str,
    version: str,
    locks: Mapping[str, Iterable[Package]],
    tools: Mapping[str, Iterable[Module]],
    versions: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the bill of materials.

    Args:
        name: name of the project.
        version: version of the project.
        locks: packages by lock file.
        tools: Go modules by tool.
        versions: content of ``versions.yaml``.
    """
    parts: dict[str, Component] = {}
    for component, user in _all(locks, tools, versions):
        kept = parts.setdefault(component["bom-ref"], component)
        used = {"name": "inferstack:used-by", "value": user}
        if used not in kept.setdefault("properties", []):
            kept["properties"].append(used)
    content: dict[str, Any] = {
        "metadata": {"component": {"type": "application", "bom-ref": name, "name": name, "version": version}},
        "components": [parts[reference] for reference in sorted(parts)],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(content, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1}
    return {**head, **content}


def _all(
    locks: Mapping[str, Iterable[Package]], tools: Mapping[str, Iterable[Module]], versions: Mapping[str, Any]
) -> Iterator[tuple[Component, str]]:
    """Yield components, each with its user."""
    for lock, packages in locks.items():
        for package in packages:
            yield make_package(package), f"requirements/{lock}.lock"
    for tool, modules in tools.items():
        for module in modules:
            yield make_module(module), f"tools/{tool}"
    for module in of_crds(dict(versions)):
        yield make_module(module), "rehearsal: CRDs"
    for name, chart in versions["charts"].items():
        yield make_chart(chart), f"add-on {name}"
    for name, tool in versions["tools"].items():
        for release in tool["releases"]:
            yield make_release(name, tool["version"], release), "inferstack tools"
    for image in images(versions):
        yield make_image(image), f"image {image.name}"


def make_package(package: Package) -> Component:
    """Return a Python package with the hashes of its files, of which an installation uses one."""
    purl = f"pkg:pypi/{package.name.replace('_', '-').replace('.', '-')}@{quote(package.version)}"
    hashes = [{"alg": "SHA-256", "content": digest} for digest in package.hashes]
    files = [{"type": "distribution", "url": purl, "hashes": hashes}]
    return {**_named("library", package.name, package.version, purl), "externalReferences": files}


def make_module(module: Module) -> Component:
    """Return a Go module. CycloneDX has no name for Go's hash format, so the hash is a property."""
    purl = f"pkg:golang/{module.path}@{quote(module.version)}"
    properties = [{"name": "inferstack:go.sum", "value": module.sum}] if module.sum else []
    return {**_named("library", module.path, module.version, purl), "properties": properties}


def make_chart(chart: Mapping[str, str]) -> Component:
    """Return a chart."""
    where = quote(chart["repo"], safe="")
    purl = f"pkg:helm/{chart['chart']}@{quote(chart['version'])}?repository_url={where}"
    return _named("application", chart["chart"], chart["version"], purl)


def make_release(name: str, version: str, release: Mapping[str, Any]) -> Component:
    """Return the binaries of a release with the checksum of the file for each platform."""
    provides = "-".join(release["provides"][:2])
    files = []
    for platform, checksum in release["checksums"].items():
        system, _, machine = platform.partition("/")
        algorithm, _, digest = checksum.partition(":")
        machine = release.get("arch", {}).get(machine, machine)
        url = release["url"].format(version=version, os=system, arch=machine)
        hashes = [{"alg": _ALGORITHMS[algorithm], "content": digest}]
        files.append({"type": "distribution", "url": url, "comment": platform, "hashes": hashes})
    purl = f"pkg:generic/{name}@{quote(version)}?file={provides}"
    return {**_named("application", name, version, purl), "externalReferences": files}


def make_image(image: Image) -> Component:
    """Return an image by its digest if known, otherwise by its tag and with the reason."""
    short = image.repository.rpartition("/")[2]
    where = quote(image.repository, safe="")
    if image.digest:
        purl = f"pkg:oci/{short}@{quote(image.digest, safe='')}?repository_url={where}&tag={quote(image.tag)}"
        return _named("container", image.repository, image.tag, purl)
    purl = f"pkg:oci/{short}?repository_url={where}&tag={quote(image.tag)}"
    reason = [{"name": "inferstack:no-digest", "value": image.missing}]
    return {**_named("container", image.repository, image.tag, purl), "properties": reason}


def _named(kind: str, name: str, version: str, purl: str) -> Component:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}
