"""What rules look at: resources as the program registers them, a stack, and values that a preview cannot know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Never

from inferstack.apimachinery.objects import Object

_KUBERNETES = "kubernetes:"
_RELEASE = "kubernetes:helm.sh/v3:Release"


class UnknownError(Exception):
    """A check looked at a value that only the update will know."""


class Unknown:
    """Stands where a preview has no value yet. Any look at it raises, so that no verdict rests on a guess."""

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
    """One resource of a stack, or an object that the operator will make of one."""

    urn: str
    type: str
    """Pulumi's token: ``aws:s3/bucket:Bucket``, ``kubernetes:apps/v1:Deployment``."""
    name: str
    """Pulumi's name; `label` is what a person calls it."""
    properties: Object
    """Inputs, plain; `UNKNOWN` where a preview has no value."""
    parent: str = ""
    """URN."""
    protect: bool = False
    """Pulumi's resource option."""
    origin: str = ""
    """URN of the InferenceJob that the operator will make this object of; empty where the program registers it."""

    @property
    def manifest(self) -> Object | None:
        """The Kubernetes object, or None where this is none: not a patch, a release or another provider's."""
        mine = self.type.startswith(_KUBERNETES) and self.type != _RELEASE and not self.type.endswith("Patch")
        return self.properties if mine and "kind" in self.properties else None

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
        """What a person calls it: ``Deployment nlp/model`` or Pulumi's name."""
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
    """The stack's own values under ``inferstack:``, by role, as its file gives them: no defaults."""

    def of_kind(self, *kinds: str) -> Iterator[Resource]:
        """Yield the Kubernetes objects of these kinds."""
        return (resource for resource in self.resources if resource.kind in kinds)

    def of_type(self, *types: str) -> Iterator[Resource]:
        """Yield the resources with these tokens."""
        return (resource for resource in self.resources if resource.type in types)


def get(value: Any, *path: str | int, default: Any = None) -> Any:
    """Return what is at a path of keys and indices, or ``default`` where a part of the way is missing.

    Raises:
        UnknownError: a value on the way, or at its end, is not known yet.
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
    """Tell whether there is a value anywhere in it that is not known yet."""
    if isinstance(value, Mapping):
        return any(has_unknown(below) for below in value.values())
    if isinstance(value, list | tuple):
        return any(has_unknown(below) for below in value)
    return value is UNKNOWN
