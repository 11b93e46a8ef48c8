"""Charts rendered by helm without a cluster, and the container images in their manifests."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from inferstack.errors import UserError
from inferstack.toolchain import binaries
from inferstack.toolchain.documents import parse_all
from inferstack.versions import load

_SECONDS = 120
_REFERENCE = re.compile(
    r"(?:^|=)(?P<image>(?:[a-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-][a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?)$"
)
"""An image with a tag or digest, alone or after ``--option=``; the grammar of distribution's reference.go."""
_PARTS = ("repository", "image", "version")


def render(packed: Path, name: str, namespace: str, values: Mapping[str, Any]) -> list[Any]:
    """Return the manifests of a release, hooks included.

    Args:
        packed: the packed chart.
        name: name of the release.
        namespace: namespace of the release.
        values: override the chart's default values.

    Raises:
        UserError: helm is missing or fails.
    """
    helm = binaries.locate("helm")
    if helm is None:
        raise UserError("helm is missing: run `inferstack tools ensure`.")
    # Charts depend on the Kubernetes version; the pinned one stands for that of the cluster.
    version = load()["tools"]["kubernetes"]["version"]
    command = [str(helm), "template", name, str(packed), "--namespace", namespace, "--kube-version", version]
    completed = subprocess.run(
        [*command, "--values", "-"],
        input=json.dumps(dict(values)),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if completed.returncode:
        raise UserError(f"helm cannot render {packed.name}: {completed.stderr.strip().removeprefix('Error: ')}")
    return [document for document in parse_all(completed.stdout) if document]


def images_of(documents: Iterable[Any]) -> list[str]:
    """Return the images of manifests, sorted and unique.

    These are container images; triples of repository, image and version in custom resources that configure an
    operator (NVIDIA's ClusterPolicy); and container arguments and variables that contain a full reference with
    registry and tag (the Prometheus operator's reloader).

    Args:
        documents: parsed manifests.
    """
    return sorted(set(_find(list(documents))))


def _find(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        yield from _own(node)
        for key, value in node.items():
            if key in ("args", "command") and isinstance(value, list):
                yield from _references(value)
            elif key == "env" and isinstance(value, list):
                yield from _variables([item for item in value if isinstance(item, Mapping)])
            elif key == "values" and isinstance(value, str) and node.keys() >= {"config"}:
                yield from _injected(value)
            yield from _find(value)
    elif isinstance(node, list):
        for item in node:
            yield from _find(item)


def _own(node: Mapping[Any, Any]) -> Iterator[str]:
    """Yield the image of a container or of a custom resource."""
    repository, image, version = (node.get(part) for part in _PARTS)
    if not isinstance(image, str) or not image:
        return
    if isinstance(repository, str) and repository and isinstance(version, str) and version:
        yield f"{repository}/{image}{'@' if version.startswith('sha256:') else ':'}{version}"
    elif repository is None and "/" in image:  # Istio's "auto" is a word to its injector, not an image
        yield image


def _injected(text: str) -> Iterator[str]:
    """Yield the proxy that Istio injects into pods, from the template values in its injector's ConfigMap."""
    settings = json.loads(text).get("global") or {}
    proxy = settings.get("proxy", {}).get("image", "")
    if "/" in proxy:
        yield proxy
    elif proxy and settings.get("hub"):
        yield f"{settings['hub']}/{proxy}:{settings['tag']}"


def _variables(entries: Iterable[Mapping[Any, Any]]) -> Iterator[str]:
    """Yield the images in environment variables. A variable with IMAGE in its name needs no registry in its value."""
    for entry in entries:
        value = entry.get("value")
        if isinstance(value, str) and "IMAGE" in str(entry.get("name")) and ":" in value and _REFERENCE.search(value):
            yield value
        else:
            yield from _references([value])


def _references(texts: Iterable[Any]) -> Iterator[str]:
    for text in texts:
        match = _REFERENCE.search(text) if isinstance(text, str) else None
        if match and _is_pinned(match["image"]):
            yield match["image"]


def _is_pinned(text: str) -> bool:
    """Return whether a text is an image, not a path or address: it has a registry with a dot, and a tag or digest."""
    registry, _, rest = text.partition("/")
    return "." in registry and (":" in rest or "@" in rest) and not registry.startswith(".")
