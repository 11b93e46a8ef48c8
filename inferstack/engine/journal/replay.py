"""Replay a journal of the engine into a checkpoint (pure).

This follows the engine's own ``JournalReplayer`` (pulumi/pkg/backend/journal.go, journal version 1). An entry refers
to a resource of the base checkpoint by its index, and to one of the running update by the id of its operation.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from inferstack.apimachinery.rfc3339 import format_micro_time

Json = dict[str, Any]

_BEGIN: Final = 0
_SUCCESS: Final = 1
_FAILURE: Final = 2
_REFRESHED: Final = 3
_OUTPUTS: Final = 4
_WRITE: Final = 5
_SECRETS: Final = 6
_REBASED: Final = 7
_EXTENSION: Final = 8
_SNIPPETS: Final = 9

_ROOT_STACK: Final = "pulumi:pulumi:Stack"

# Fields of resources that only some engines know -> name of the feature, which the checkpoint must list.
_FEATURES: Final = {
    "refreshBeforeUpdate": "refreshBeforeUpdate",
    "viewOf": "views",
    "resourceHooks": "hooks",
    "taint": "taint",
    "replaceWith": "replaceWith",
    "extensionRef": "extensionParameterization",
    "snippetID": "snippets-prototype",
}


class JournalError(Exception):
    """A journal entry of an unknown kind."""


@dataclass
class Replayer:
    """The state so far: a base checkpoint and the entries since."""

    base: Json
    """A deployment (version 3 or 4) as the engine exports it."""
    _new: list[Json] = field(default_factory=list)
    _index_of: dict[int, int] = field(default_factory=dict)
    _removed_new: set[int] = field(default_factory=set)
    _removed_old: set[int] = field(default_factory=set)
    _replaced_old: dict[int, Json] = field(default_factory=dict)
    _deleting_old: set[int] = field(default_factory=set)
    _replacing_old: set[int] = field(default_factory=set)
    _in_flight: dict[int, Json] = field(default_factory=dict)
    _extensions: Json = field(default_factory=dict)
    _refreshed: bool = False
    _byte_strings: bool = False

    def add(self, entry: Mapping[str, Any]) -> None:
        """Apply one entry.

        Raises:
            JournalError: its kind is unknown.
        """
        kind, operation, state = entry["kind"], entry.get("operationID", 0), entry.get("state")
        self._byte_strings |= bool(entry.get("requiresByteString"))
        old, new = entry.get("removeOld"), entry.get("removeNew")
        if kind == _BEGIN:
            self._in_flight[operation] = dict(entry)
        elif kind == _SUCCESS:
            self._succeed(entry, operation, state)
        elif kind == _FAILURE:
            self._in_flight.pop(operation, None)
        elif kind == _REFRESHED:
            self._in_flight.pop(operation, None)
            self._refreshed = True
            self._replace(old, new, state)
        elif kind == _OUTPUTS:
            if state is not None:
                self._replace(old, new, state)
        elif kind == _WRITE:
            self.base = entry["newSnapshot"]
        elif kind == _SECRETS:
            if self.base.get("secrets_providers") != entry["secretsProvider"]:
                self.base = {**self.base, "secrets_providers": entry["secretsProvider"]}
        elif kind == _SNIPPETS:
            self.base = {**self.base, "snippets": entry.get("snippets") or []}
        elif kind == _REBASED:
            refreshed, byte_strings = self._refreshed, self._byte_strings
            self.__init__(self.deployment()["deployment"])  # type: ignore[misc]  # restart on the new base
            self._refreshed, self._byte_strings = refreshed, byte_strings
        elif kind == _EXTENSION:
            self._extensions[entry["extensionRef"]] = entry["extension"]
        else:
            raise JournalError(f"journal entry of unknown kind {kind!r}")

    def _succeed(self, entry: Mapping[str, Any], operation: int, state: Json | None) -> None:
        self._in_flight.pop(operation, None)
        if state is not None:
            self._index_of[operation] = len(self._new)
            self._new.append(state)
        for key, marks in (
            ("removeOld", self._removed_old),
            ("removeNew", self._removed_new),
            ("deleteOld", self._deleting_old),
            ("pendingReplacementOld", self._replacing_old),
        ):
            if entry.get(key) is not None:
                marks.add(entry[key])
        for key, flag in (("deleteNew", "delete"), ("pendingReplacementNew", "pendingReplacement")):
            if entry.get(key) is not None:
                self._new[self._index_of[entry[key]]][flag] = True
        self._refreshed |= bool(entry.get("isRefresh"))

    def _replace(self, old: int | None, new: int | None, state: Json | None) -> None:
        """Replace the state of a resource, or remove the resource if there is none."""
        if old is not None:
            if state is None:
                self._removed_old.add(old)
            else:
                self._replaced_old[old] = state
        if new is not None:
            if state is None:
                self._removed_new.add(new)
            else:
                self._new[self._index_of[new]] = state

    def deployment(self, now: datetime.datetime | None = None) -> Json:
        """Return ``{"version", "features", "deployment"}`` for the state so far.

        Args:
            now: the time of the manifest (default: that of the base).
        """
        removed = {self._index_of[operation] for operation in self._removed_new if operation in self._index_of}
        resources = [dict(resource) for index, resource in enumerate(self._new) if index not in removed]
        resources += self._old_resources()
        pending = [entry["operation"] for entry in self._in_flight.values() if entry.get("operation") is not None]
        pending += [o for o in self.base.get("pending_operations") or [] if o["type"] == "creating"]
        features = _features([*resources, *(operation["resource"] for operation in pending)])
        if self._byte_strings:
            features.add("byteString")
        if self._refreshed:
            _drop_dangling(resources)
        deployment: Json = {"manifest": _manifest(self.base, now)}
        if self.base.get("secrets_providers") is not None:
            deployment["secrets_providers"] = self.base["secrets_providers"]
        if resources:
            deployment["resources"] = resolve_aliases(resources)
        if pending:
            deployment["pending_operations"] = pending
        deployment["metadata"] = self.base.get("metadata") or {}
        if self.base.get("snippets"):
            deployment["snippets"] = self.base["snippets"]
            features.add("snippets-prototype")
        extensions = {**self._extensions, **(self.base.get("extensions") or {})}
        if extensions:
            deployment["extensions"] = extensions
        return {"version": 4 if features else 3, "features": sorted(features), "deployment": deployment}

    def _old_resources(self) -> list[Json]:
        kept = []
        for index, resource in enumerate(self.base.get("resources") or []):
            if index in self._removed_old:
                continue
            if index in self._replaced_old:
                kept.append(dict(self._replaced_old[index]))
                continue
            marks: Json = {}
            if index in self._replacing_old:
                marks["pendingReplacement"] = True
            if index in self._deleting_old:
                marks["delete"] = True
            kept.append({**resource, **marks})
        return kept


def _manifest(base: Json, now: datetime.datetime | None) -> Json:
    manifest = dict(base.get("manifest") or {})
    if now is not None:
        manifest["time"] = format_micro_time(now)
    version = manifest.get("version")
    if version:
        manifest["magic"] = hashlib.sha256(str(version).encode()).hexdigest()
    return manifest


def _features(resources: Iterable[Json]) -> set[str]:
    return {feature for resource in resources for key, feature in _FEATURES.items() if resource.get(key)}


def _drop_dangling(resources: list[Json]) -> None:
    """Drop references to resources that a refresh removed; resources are in order of their dependencies."""
    known: set[str] = set()
    parents: dict[str, str] = {}
    for resource in resources:
        for key in ("dependencies", "replaceWith"):
            if resource.get(key):
                resource[key] = [urn for urn in resource[key] if urn in known]
        if resource.get("propertyDependencies"):
            resource["propertyDependencies"] = {
                name: [urn for urn in urns if urn in known] for name, urns in resource["propertyDependencies"].items()
            }
        if resource.get("deletedWith") and resource["deletedWith"] not in known:
            del resource["deletedWith"]
        known.add(resource["urn"])
    for resource in resources:
        parent = resource.get("parent", "")
        if parent and parent not in known:
            resource["parent"] = parent = parents.get(parent, "")
            if not parent:
                del resource["parent"]
        parents[resource["urn"]] = parent


def resolve_aliases(resources: list[Json]) -> list[Json]:
    """Return resources that refer to each other by their new URNs only, without aliases."""
    renamed: dict[str, str] = {}
    for resource in resources:
        for alias in resource.get("aliases") or []:
            renamed[alias] = resource["urn"]
        parent = renamed.get(resource.get("parent", ""))
        if parent and _qualified_type(parent) != _ROOT_STACK:
            renamed[resource["urn"]] = _with_parent(resource["urn"], _qualified_type(parent))
    if not renamed:
        return resources
    return [_renamed(resource, renamed) for resource in resources]


def _qualified_type(urn: str) -> str:
    return urn.split("::", 3)[2]


def _with_parent(urn: str, parent_type: str) -> str:
    head, project, kind, name = urn.split("::", 3)
    own = kind.rpartition("$")[2]
    return f"{head}::{project}::{f'{parent_type}${own}' if parent_type else own}::{name}"


def _renamed(resource: Json, renamed: Mapping[str, str]) -> Json:
    result = {key: value for key, value in resource.items() if key != "aliases"}
    for key in ("urn", "parent", "deletedWith", "viewOf"):
        if result.get(key):
            result[key] = renamed.get(result[key], result[key])
    if result.get("provider"):
        urn, _, identity = result["provider"].rpartition("::")
        result["provider"] = f"{renamed.get(urn, urn)}::{identity}"
    if result.get("dependencies"):
        result["dependencies"] = [renamed.get(urn, urn) for urn in result["dependencies"]]
    if result.get("propertyDependencies"):
        result["propertyDependencies"] = {
            name: [renamed.get(urn, urn) for urn in urns or []] for name, urns in result["propertyDependencies"].items()
        }
    return result
