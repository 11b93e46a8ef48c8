"""YAML streams of manifests, read as Kubernetes reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # both are safe loaders
    """Safe YAML that reads a lone ``=`` as text: an enum of Alertmanager's matchers has it, YAML 1.1 a tag for it."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


def parse_all(content: str | bytes) -> Iterator[Any]:
    """Yield the documents of a YAML stream, empty ones as None."""
    yield from yaml.load_all(content, Loader=_Loader)


def crds_in(content: str | bytes) -> Iterator[dict[str, Any]]:
    """Yield the CRDs among the documents of a YAML stream."""
    for document in parse_all(content):
        if isinstance(document, dict) and document.get("kind") == "CustomResourceDefinition":
            yield document
