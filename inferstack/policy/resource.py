"""The inputs of rules: resources as the program registers them, a stack, and values that a preview does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Never

from inferstack.apimachinery.objects import Object

_KUBERNETES = "kubernetes:"
_RELEASE = "kubernetes:helm.sh/v3:Release"


class UnknownError(Exception):
    """A check used a value that only the update knows."""


class Unknown:
    """A value that a preview does not know. Using it raises `UnknownError`, so that no result depends on a guess."""

    def _raise(self, *_: object) -> Never:
        raise UnknownError

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _raise
    __contains__ = __iter__ = __len__ = __getitem__ = __hash__ = __int__ = __float__ = _raise
    __getattr__ = _raise

    def __repr__(self) -> str:
        return "(known after the update)"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Resource:
    """One resource of a stack, or an object that the jobs controller will create for one."""

    urn: str
    type: str
    """Pulumi's type token: ``aws:s3/bucket:Bucket``, ``kubernetes:apps/v1:Deployment``."""
    name: str
    """Pulumi's name; `label` is the display name."""
    properties: Object
    """Inputs as plain values; `UNKNOWN` where a preview has none."""
    parent: str = ""
    """URN."""
    protect: bool = False
    """Pulumi's resource option."""
    origin: str = ""
    """URN of the InferenceJob that the controller will create this object for; empty if the program registers it."""

    @property
    def manifest(self) -> Object | None:
        """The Kubernetes object, or None for patches, Helm releases and other providers' resources."""
        is_object = self.type.startswith(_KUBERNETES) and self.type != _RELEASE and not self.type.endswith("Patch")
        return self.properties if is_object and "kind" in self.properties else None

    @property
    def kind(self) -> str:
        """Kind of the Kubernetes object, or empty."""
        manifest = self.manifest
        return str(manifest["kind"]) if manifest else ""

    @property
    def namespace(self) -> str:
        """Namespace of the Kubernetes object, or empty."""
        return str(get(self.properties, "metadata", "namespace", default="")) if self.manifest else ""

    @property
    def label(self) -> str:
        """Display name: ``Deployment nlp/model`` or Pulumi's name."""
        if not self.manifest:
            return self.name
        name = get(self.properties, "metadata", "name", default=self.name)
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{name}"


@dataclass(frozen=True)
class Stack:
    """All resources of a stack, in their order."""

    name: str
    resources: tuple[Resource, ...]
    tenants: frozenset[str] = frozenset()
    """Names of the tenants' namespaces."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The stack's own values under ``inferstack:``, by role, without defaults."""

    def of_kind(self, *kinds: str) -> Iterator[Resource]:
        """Yield the Kubernetes objects of these kinds."""
        return (resource for resource in self.resources if resource.kind in kinds)

    def of_type(self, *types: str) -> Iterator[Resource]:
        """Yield the resources with these tokens."""
        return (resource for resource in self.resources if resource.type in types)


def get(value: Any, *path: str | int, default: Any = None) -> Any:
    """Return the value at a path of keys and indices, or ``default`` if a part of the path is missing.

    Raises:
        UnknownError: a value on the path is not known yet.
    """
    for part in path:
        if value is UNKNOWN:
            raise UnknownError
        listed = isinstance(value, list | tuple) and isinstance(part, int) and -len(value) <= part < len(value)
        if listed or (isinstance(value, Mapping) and part in value):
            value = value[part]
        else:
            return default
    if value is UNKNOWN:
        raise UnknownError
    return value


def has_unknown(value: Any) -> bool:
    """Return whether a value or anything in it is not known yet."""
    if isinstance(value, Mapping):
        return any(has_unknown(below) for below in value.values())
    if isinstance(value, list | tuple):
        return any(has_unknown(below) for below in value)
    return value is UNKNOWN
