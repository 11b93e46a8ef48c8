"""How a recorded stack is changed in one place."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.policy.examples import resource_of
from inferstack.policy.resource import Resource, get

Change = Callable[[Sequence[Resource]], Iterator[Resource]]


@dataclass(frozen=True)
class Mutation:
    """One change of a stack."""

    rule: str
    """Which is to speak of it, alone."""
    stack: str
    what: str
    change: Change


def edited(
    kind: str, name: str, *path: str | int, to: Any = None, drop: bool = False, by_operator: bool = False
) -> Change:
    """Change one value of the one resource of a kind with this name; ``made``: that which the operator will make."""

    def change(resources: Sequence[Resource]) -> Iterator[Resource]:
        hits = 0
        for resource in resources:
            if not _is(resource, kind, name) or bool(resource.origin) is not by_operator:
                yield resource
                continue
            hits += 1
            properties = copy.deepcopy(resource.properties)
            place: Any = properties
            for key in path[:-1]:
                place = place.setdefault(key, {}) if isinstance(key, str) else place[key]
            if drop:
                del place[path[-1]]
            else:
                place[path[-1]] = to(place.get(path[-1])) if callable(to) else to
            yield dataclasses.replace(resource, properties=properties)
        assert hits == 1, f"{hits} resources are {kind} {name}"

    return change


def gone(kind: str, name: str, *, by_operator: bool = False) -> Change:
    """Leave one resource out."""

    def change(resources: Sequence[Resource]) -> Iterator[Resource]:
        kept = [
            resource
            for resource in resources
            if not (_is(resource, kind, name) and bool(resource.origin) is by_operator)
        ]
        assert len(kept) == len(resources) - 1
        yield from kept

    return change


def bared(kind: str, name: str) -> Change:
    """Take Pulumi's protection off one resource."""

    def change(resources: Sequence[Resource]) -> Iterator[Resource]:
        assert [resource.protect for resource in resources if _is(resource, kind, name)] == [True]
        yield from (
            dataclasses.replace(resource, protect=False) if _is(resource, kind, name) else resource
            for resource in resources
        )

    return change


def added(stack: str, **given: Any) -> Change:
    """Add a resource."""

    def change(resources: Sequence[Resource]) -> Iterator[Resource]:
        yield from (*resources, resource_of(given, stack))

    return change


def _is(resource: Resource, kind: str, name: str) -> bool:
    label = get(resource.properties, "metadata", "name") if resource.manifest else resource.name
    # A component may be called like what it is made of.
    return not resource.type.startswith("inferstack:") and resource.type.rpartition(":")[2] == kind and label == name


def run_once(resources: Sequence[Resource]) -> Iterator[Resource]:
    """Add a Job of a tenant with the pod of its server."""
    yield from resources
    (server,) = [resource for resource in resources if resource.origin and resource.kind == "Deployment"]
    template = copy.deepcopy(server.properties["spec"]["template"])
    template["spec"]["restartPolicy"] = "Never"
    template["spec"]["containers"][0]["image"] = f"ghcr.io/example/once@sha256:{'0' * 64}"
    metadata = {"name": "once", "namespace": "nlp"}
    yield resource_of(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}}, "local"
    )


def policy(change: Callable[[list[Object]], Any]) -> Callable[[str], str]:
    """Return what changes the statements of a policy of AWS."""

    def changed(text: str) -> str:
        document = json.loads(text)
        change(document["Statement"])
        return json.dumps(document)

    return changed


def container(name: str, *path: str | int, to: Any = None, drop: bool = False, by_operator: bool = False) -> Change:
    """Change the first container of a Deployment."""
    return pod_of(name, "containers", 0, *path, to=to, drop=drop, by_operator=by_operator)


def pod_of(name: str, *path: str | int, to: Any = None, drop: bool = False, by_operator: bool = False) -> Change:
    """Change the pod of a Deployment."""
    return edited("Deployment", name, "spec", "template", "spec", *path, to=to, drop=drop, by_operator=by_operator)


def release(stack: str, chart: str, **values: Any) -> Change:
    """Add a chart."""
    properties = {"chart": chart, "namespace": chart, "values": values}
    return added(stack, type="kubernetes:helm.sh/v3:Release", name=chart, properties=properties)
