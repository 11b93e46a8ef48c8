"""The nodes of a stack, the resources that they offer and the resources that pods request; used by checks."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inferstack.apimachinery.labels import HARDWARE
from inferstack.aws import catalogue as aws
from inferstack.errors import UserError
from inferstack.mig import catalogue as mig
from inferstack.mig.errors import LayoutError
from inferstack.mig.gpu_operator import MIG_CONFIG
from inferstack.mig.layout import (
    Layout,
    advertised_resources,
    apply_layout,
    make_mig_parted_config,
    mig_disabled,
    parse_config,
)
from inferstack.mig.mig_parted import dump_config
from inferstack.mig.resources import GPU_RESOURCE
from inferstack.policy.kinds import WORKLOADS
from inferstack.policy.resource import Resource, Stack, get

NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
RELEASE = "kubernetes:helm.sh/v3:Release"
EFA_RESOURCE = "vpc.amazonaws.com/efa"


@dataclass(frozen=True)
class Machine:
    """One kind of node of a stack."""

    name: str
    gpu: str | None
    """GPU model."""
    gpus: int
    layout: str | None
    """Name of the requested MIG layout."""
    efa: int
    """Maximum number of EFA interfaces."""


def machines(stack: Stack) -> tuple[Machine, ...]:
    """Return the kinds of nodes that a stack creates; empty if another stack creates them."""
    return (*map(_simulated, stack.of_kind("Node")), *(_group(stack, group) for group in stack.of_type(NODE_GROUP)))


def offered(stack: Stack) -> frozenset[str]:
    """Return the GPU resources that the stack's nodes offer with their MIG layouts."""
    layouts, strategy = _layouts(stack), _strategy(stack)
    return frozenset(resource for machine in machines(stack) for resource in _offers(machine, layouts, strategy))


def requests(stack: Stack) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    """Yield the resource limits of each container and of each InferenceJob; a job's own objects do not count again."""
    for resource in stack.of_kind("InferenceJob", *WORKLOADS):
        if resource.origin:
            continue
        if resource.kind == "InferenceJob":
            yield resource, get(resource.properties, "spec", "resources", "limits", default={})
            continue
        for container in containers(resource):
            yield resource, get(container, "resources", "limits", default={})


def containers(workload: Resource) -> Iterator[Mapping[str, Any]]:
    """Yield the containers and init containers of a workload."""
    path = {"Pod": ("spec",), "CronJob": ("spec", "jobTemplate", "spec", "template", "spec")}
    spec = get(workload.properties, *path.get(workload.kind, ("spec", "template", "spec")), default={})
    yield from get(spec, "containers", default=())
    yield from get(spec, "initContainers", default=())


def gpu_operators(stack: Stack) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    """Yield the GPU operator's configuration: chart values or the ClusterPolicy, which have the same keys."""
    for release in charts(stack, "gpu-operator"):
        yield release, get(release.properties, "values", default={})
    for policy in stack.of_kind("ClusterPolicy"):
        yield policy, get(policy.properties, "spec", default={})


def charts(stack: Stack, name: str) -> Iterator[Resource]:
    """Yield the releases of a chart, from a repository, a URL or an archive."""
    for release in stack.of_type(RELEASE):
        last = str(get(release.properties, "chart", default="")).rpartition("/")[2]
        if last == name or re.fullmatch(rf"{name}-v?\d.*\.tgz", last):
            yield release


def _simulated(node: Resource) -> Machine:
    hardware = json.loads(get(node.properties, "metadata", "annotations", HARDWARE, default="{}"))
    known = mig.load().instance_types.get(hardware.get("instanceType", ""))
    return Machine(
        node.name,
        hardware.get("gpu"),
        int(hardware.get("gpus", 0)),
        get(node.properties, "metadata", "labels", MIG_CONFIG),
        known.efa if known else 0,
    )


def _group(stack: Stack, group: Resource) -> Machine:
    types = get(group.properties, "instanceTypes", default=())
    if not types:
        # AWS requires the type of a Capacity Block in the launch template, which has the same name.
        template = next((item for item in stack.of_type(LAUNCH_TEMPLATE) if item.name == group.name), None)
        types = [get(template.properties if template else {}, "instanceType", default="")]
    layout = get(group.properties, "labels", MIG_CONFIG)
    try:
        known = aws.instance_type(get(types, 0))
    except UserError:
        return Machine(group.name, None, 0, layout, 0)
    return Machine(group.name, known.gpu, known.gpus, layout, known.efa)


def _offers(machine: Machine, layouts: Mapping[str, Layout], strategy: Any) -> Iterator[str]:
    if machine.gpu is None or not machine.gpus:
        return
    model = mig.load().gpus.get(machine.gpu)
    if machine.layout is None or model is None:
        yield GPU_RESOURCE
    elif machine.layout in layouts:
        try:
            states = apply_layout(layouts[machine.layout], model, mig_disabled(machine.gpus))
        except LayoutError:
            return
        yield from advertised_resources(model, states, strategy).capacity


def _strategy(stack: Stack) -> str:
    strategies = (get(values, "mig", "strategy") for _, values in gpu_operators(stack))
    return next((str(strategy) for strategy in strategies if strategy), "mixed")


def _layouts(stack: Stack) -> Mapping[str, Layout]:
    for config in stack.of_kind("ConfigMap"):
        text = get(config.properties, "data", "config.yaml", default="")
        if "mig-configs" in text:
            return _parse(text)
    return _default_layouts()


@functools.lru_cache(maxsize=8)
def _parse(text: str) -> Mapping[str, Layout]:
    return parse_config(text)


@functools.cache
def _default_layouts() -> Mapping[str, Layout]:
    return parse_config(dump_config(make_mig_parted_config()))
