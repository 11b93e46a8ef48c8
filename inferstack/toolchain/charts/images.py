"""Container images that a chart brings, read from its rendered manifests. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_REFERENCE = re.compile(
    r"(?:^|=)(?P<image>(?:[a-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-][a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?)$"
)
"""An image with a tag or digest, alone or after ``--option=``; the grammar is that of distribution's reference.go."""
_PARTS = ("repository", "image", "version")


def images_of(documents: Iterable[Any]) -> list[str]:
    """Return the images of manifests, sorted, each once.

    Found are containers' images, the triples repository, image and version of custom resources that tell an operator
    what to run (NVIDIA's ClusterPolicy), and arguments and variables of containers that hold a whole reference with
    a registry and a tag (the Prometheus operator's reloader).

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
                yield from _variables([one for one in value if isinstance(one, Mapping)])
            elif key == "values" and isinstance(value, str) and node.keys() >= {"config"}:
                yield from _injected(value)
            yield from _find(value)
    elif isinstance(node, list):
        for one in node:
            yield from _find(one)


def _own(node: Mapping[Any, Any]) -> Iterator[str]:
    """Yield the image that a container or a custom resource names itself."""
    repository, image, version = (node.get(part) for part in _PARTS)
    if not isinstance(image, str) or not image:
        return
    if isinstance(repository, str) and repository and isinstance(version, str) and version:
        yield f"{repository}/{image}{'@' if version.startswith('sha256:') else ':'}{version}"
    elif repository is None and "/" in image:  # Istio's "auto" is a word to its injector, not an image
        yield image


def _injected(text: str) -> Iterator[str]:
    """Yield the proxy that Istio puts into pods: its injector's ConfigMap holds the values of its template."""
    settings = json.loads(text).get("global") or {}
    proxy = settings.get("proxy", {}).get("image", "")
    if "/" in proxy:
        yield proxy
    elif proxy and settings.get("hub"):
        yield f"{settings['hub']}/{proxy}:{settings['tag']}"


def _variables(entries: Iterable[Mapping[Any, Any]]) -> Iterator[str]:
    """Yield the images in environment variables; one that says by its name that it is an image needs no registry."""
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
    """Tell an image from a path or an address: a registry with a dot in front, a tag or digest behind."""
    registry, _, rest = text.partition("/")
    return "." in registry and (":" in rest or "@" in rest) and not registry.startswith(".")
