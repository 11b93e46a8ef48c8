"""What a stack's nodes are and offer, and what its pods ask of them. Pure facts for checks; no rule of its own."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inferstack.aws import catalogue as aws
from inferstack.errors import UserError
from inferstack.mig import catalogue as mig
from inferstack.mig.errors import LayoutError
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
_HARDWARE = "rehearsal.inferstack.dev/hardware"
_LAYOUT = "nvidia.com/mig.config"


@dataclass(frozen=True)
class Machine:
    """One kind of node of a stack."""

    name: str
    gpu: str | None
    """Board."""
    gpus: int
    layout: str | None
    """Name of the MIG layout that it asks for."""
    efa: int
    """EFA interfaces that its type has at most."""


def machines(stack: Stack) -> tuple[Machine, ...]:
    """Return the kinds of nodes that a stack makes; empty where the nodes are somebody else's."""
    return (*map(_simulated, stack.of_kind("Node")), *(_group(stack, one) for one in stack.of_type(NODE_GROUP)))


def offered(stack: Stack) -> frozenset[str]:
    """Return the GPU resources that the stack's nodes will offer, after they are cut."""
    layouts, strategy = _layouts(stack), _strategy(stack)
    return frozenset(resource for machine in machines(stack) for resource in _offers(machine, layouts, strategy))


def asked(stack: Stack) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    """Yield what each container, and each replica of an InferenceJob, asks for; what a job is made into counts once."""
    for resource in stack.of_kind("InferenceJob", *WORKLOADS):
        if resource.origin:
            continue
        if resource.kind == "InferenceJob":
            yield resource, get(resource.properties, "spec", "resources", "limits", default={})
            continue
        for container in containers(resource):
            yield resource, get(container, "resources", "limits", default={})


def containers(workload: Resource) -> Iterator[Mapping[str, Any]]:
    """Yield the containers of a workload, those that run first included."""
    path = {"Pod": ("spec",), "CronJob": ("spec", "jobTemplate", "spec", "template", "spec")}
    spec = get(workload.properties, *path.get(workload.kind, ("spec", "template", "spec")), default={})
    yield from get(spec, "containers", default=())
    yield from get(spec, "initContainers", default=())


def gpu_operators(stack: Stack) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    """Yield what says how the GPU operator works: its chart with its values, or its ClusterPolicy; both speak alike."""
    for release in charts(stack, "gpu-operator"):
        yield release, get(release.properties, "values", default={})
    for policy in stack.of_kind("ClusterPolicy"):
        yield policy, get(policy.properties, "spec", default={})


def charts(stack: Stack, name: str) -> Iterator[Resource]:
    """Yield the releases of a chart: by its name in a repository, at the end of an address, or a mirror's file."""
    for release in stack.of_type(RELEASE):
        last = str(get(release.properties, "chart", default="")).rpartition("/")[2]
        if last == name or re.fullmatch(rf"{name}-v?\d.*\.tgz", last):
            yield release


def _simulated(node: Resource) -> Machine:
    hardware = json.loads(get(node.properties, "metadata", "annotations", _HARDWARE, default="{}"))
    known = mig.load().instance_types.get(hardware.get("instanceType", ""))
    return Machine(
        node.name,
        hardware.get("gpu"),
        int(hardware.get("gpus", 0)),
        get(node.properties, "metadata", "labels", _LAYOUT),
        known.efa if known else 0,
    )


def _group(stack: Stack, group: Resource) -> Machine:
    types = get(group.properties, "instanceTypes", default=())
    if not types:
        # Of a Capacity Block, which AWS wants in the template; the program calls both alike.
        template = next((one for one in stack.of_type(LAUNCH_TEMPLATE) if one.name == group.name), None)
        types = [get(template.properties if template else {}, "instanceType", default="")]
    layout = get(group.properties, "labels", _LAYOUT)
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
    said = (get(values, "mig", "strategy") for _, values in gpu_operators(stack))
    return next((str(one) for one in said if one), "mixed")


def _layouts(stack: Stack) -> Mapping[str, Layout]:
    for config in stack.of_kind("ConfigMap"):
        text = get(config.properties, "data", "config.yaml", default="")
        if "mig-configs" in text:
            return _parsed(text)
    return _usual()


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> Mapping[str, Layout]:
    return parse_config(text)


@functools.cache
def _usual() -> Mapping[str, Layout]:
    return parse_config(dump_config(make_mig_parted_config()))
