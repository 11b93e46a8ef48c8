"""Rights one by one, and what an audit log says of the requests that need them. Pure."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from inferstack.apimachinery.objects import Object

TYPES = {"apply": "application/apply-patch+yaml", "patch": "application/merge-patch+json"}
"""Of the bodies of patches; the log does not keep them, but an apply names a field manager and forces."""


class Permission(NamedTuple):
    """One verb on one resource."""

    group: str
    resource: str
    """With its subresource: ``inferencejobs/status``."""
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' if self.group else ''}{self.group}"


@dataclasses.dataclass(frozen=True)
class Request:
    """One request that the API server has answered."""

    permission: Permission
    path: str
    query: Mapping[str, str]
    name: str
    body: Object | None
    code: int
    reason: str
    """Which binding allowed it, in the authorizer's words."""

    @property
    def method(self) -> str:
        """The HTTP method of the verb."""
        return {"create": "POST", "patch": "PATCH", "update": "PUT", "delete": "DELETE"}.get(
            self.permission.verb, "GET"
        )

    @property
    def content_type(self) -> str:
        """Type of the body."""
        if self.method != "PATCH":
            return "application/json"
        return TYPES["apply" if "force" in self.query else "patch"]


def permissions_of(rules: Iterable[Object]) -> set[Permission]:
    """Return the permissions of PolicyRules."""
    return {
        Permission(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def rules_of(permissions: Iterable[Permission]) -> list[Object]:
    """Return PolicyRules with these permissions only."""
    return [
        {"apiGroups": [permission.group], "resources": [permission.resource], "verbs": [permission.verb]}
        for permission in sorted(permissions)
    ]


def requests_in(log: Path, user: str) -> list[Request]:
    """Return the requests of a user for resources, each once, in the order in which they were answered."""
    requests: dict[str, Request] = {}
    for line in log.read_text().splitlines():
        event = json.loads(line)
        # Without a resource: discovery, which everybody may do.
        if event["user"]["username"] == user and "resource" in event.get("objectRef", {}):
            requests.setdefault(event["auditID"], _request(event))
    return list(requests.values())


def _request(event: Object) -> Request:
    target = event["objectRef"]
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    url = urlsplit(event["requestURI"])
    return Request(
        permission=Permission(target.get("apiGroup", ""), resource, event["verb"]),
        path=url.path,
        query=dict(parse_qsl(url.query)),
        name=target.get("name", ""),
        body=event.get("requestObject"),
        code=event.get("responseStatus", {}).get("code", 0),
        reason=event.get("annotations", {}).get("authorization.k8s.io/reason", ""),
    )


def unused_permissions(granted: Iterable[Permission], requests: Sequence[Request]) -> set[Permission]:
    """Return the permissions that no request that succeeded needed."""
    return set(granted) - {request.permission for request in requests if request.code < 400}


def missing_permissions(granted: Iterable[Permission], requests: Sequence[Request], binding: str) -> set[Permission]:
    """Return what was asked for and is not granted, or was let through by another binding."""
    allowed = set(granted)
    return {
        request.permission
        for request in requests
        if request.permission not in allowed or f'"{binding}"' not in request.reason
    }


def make_replayable(request: Request, kept: str) -> Request:
    """Return a request that may be sent once more and changes nothing.

    Args:
        request: as it was sent.
        kept: name of what is there to be deleted or evicted.
    """
    path, query, body = request.path, dict(request.query), copy.deepcopy(request.body)
    verb = request.permission.verb
    if verb == "watch":
        query = {key: value for key, value in query.items() if key != "resourceVersion"} | {"timeoutSeconds": "1"}
    elif verb not in ("get", "list"):
        query["dryRun"] = "All"
    if body and request.permission.resource == "pods/eviction":
        path = f"{path.removesuffix('/eviction').rpartition('/')[0]}/{kept}/eviction"
        body["metadata"]["name"] = kept
        body.pop("deleteOptions", None)
    elif body and verb == "create" and "name" in body["metadata"]:
        body["metadata"]["name"] += "-again"
    if body and verb == "delete":
        path = f"{path.rpartition('/')[0]}/{kept}"
        body.pop("preconditions", None)
        body["dryRun"] = ["All"]  # of a deletion the query does not count beside a body
    if body and verb == "patch":
        body["metadata"].pop("resourceVersion", None)
    return dataclasses.replace(request, path=path, query=query, body=body)
