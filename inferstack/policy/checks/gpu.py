"""Checks of GPUs against the nodes of the stack."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.mig import catalogue
from inferstack.mig.resources import GPU_RESOURCE, is_gpu
from inferstack.policy.checks.fleet import NODE_GROUP, asked, charts, gpu_operators, machines, offered
from inferstack.policy.resource import Resource, Stack, get

Found = Iterator[tuple[Resource | None, str]]
_PARAMETERS = re.compile(r"(?:^|[-_/])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?:$|[-_.])", re.IGNORECASE)
"""Number of parameters in a model's name, thousand millions: 70B, 8x7B, 1.5b."""
_BYTES = ((0.5, re.compile("int4|fp4|awq|gptq|w4a16", re.IGNORECASE)), (1, re.compile("int8|fp8|w8a8", re.IGNORECASE)))
"""Bytes of a parameter where the model's name or the server's arguments say so; two otherwise."""


def kind_on_fleet(stack: Stack, config: Mapping[str, Any]) -> Found:
    """Yield what asks for a kind of GPU or slice that no node of the stack will offer."""
    wanted = [(one, name) for one, limits in asked(stack) for name in limits if is_gpu(name)]
    if not wanted:
        return
    if machines(stack):
        known = {*offered(stack), *config["alsoOffered"]}
        said = f"nodes of this stack offer {', '.join(sorted(known)) or 'none'}"
    else:
        slices = {profile.resource for gpu in catalogue.load().gpus.values() for profile in gpu.profiles.values()}
        known, said = {GPU_RESOURCE, *slices, *config["alsoOffered"]}, "no GPU has such slices"
    for (_, name), resource in {(one.label, name): one for one, name in wanted}.items():
        if name not in known:
            yield resource, f"it asks for {name}, and {said}"


def model_fits(stack: Stack, config: Mapping[str, Any]) -> Found:
    """Yield each InferenceJob whose model is larger than what one of its replicas gets."""
    for job in stack.of_kind("InferenceJob"):
        needed = _gib_needed(job, config)
        limits = get(job.properties, "spec", "resources", "limits", default={})
        for name in filter(is_gpu, limits):
            there = _gib_there(stack, name, int(limits[name]), config)
            if needed is not None and there is not None and needed > there:
                model = get(job.properties, "spec", "model")
                yield job, f"{model} needs about {needed:.0f} GiB, and {limits[name]} x {name} has {there:.0f}"


def driver_from_one_place(stack: Stack, config: Mapping[str, Any]) -> Found:
    """Yield a GPU operator that installs what the image of the nodes brings."""
    images = [get(group.properties, "amiType", default="") for group in stack.of_type(NODE_GROUP)]
    bringing = sorted(set(images) & set(config["images"]))
    if not bringing:
        return
    for resource, values in gpu_operators(stack):
        # Both are on where the chart is told nothing.
        twice = [part for part in ("driver", "toolkit") if get(values, part, "enabled", default=True) is not False]
        if twice:
            yield resource, f"it installs {' and '.join(twice)}, which {', '.join(bringing)} brings"


def one_allocator(stack: Stack, _: Mapping[str, Any]) -> Found:
    """Yield a driver of Dynamic Resource Allocation that gives out the GPUs of a device plugin as well."""
    plugins = [
        resource
        for resource, values in gpu_operators(stack)
        if get(values, "devicePlugin", "enabled", default=True) is not False
    ]
    for driver in charts(stack, "nvidia-dra-driver-gpu"):
        gives = get(driver.properties, "values", "resources", "gpus", "enabled", default=True) is not False
        if plugins and gives:
            yield driver, f"it gives out the same GPUs as the device plugin of {plugins[0].label}"


def _gib_needed(job: Resource, config: Mapping[str, Any]) -> float | None:
    model = get(job.properties, "spec", "model", default="")
    if model in config["gibOfModels"]:
        return float(config["gibOfModels"][model])
    found = _PARAMETERS.search(model)
    if found is None:
        return None
    text = " ".join([model, *map(str, get(job.properties, "spec", "args", default=()))])
    size = next((bytes_ for bytes_, pattern in _BYTES if pattern.search(text)), 2)
    parameters = int(found[1] or 1) * float(found[2]) * 1e9
    return float(parameters * size / 2**30 * (1 + config["reservePercent"] / 100))


def _gib_there(stack: Stack, name: str, count: int, config: Mapping[str, Any]) -> float | None:
    """Return what a replica gets: of a slice one, since servers do not join slices; of boards the largest there."""
    boards = catalogue.load().gpus
    here = {machine.gpu for machine in machines(stack) if machine.gpu} or set(boards)
    if name != GPU_RESOURCE:
        profiles = [p for board in boards.values() for p in board.profiles.values() if p.resource == name]
        return min((profile.memory_mib / 1024 for profile in profiles), default=None)
    known = {**{board: found.memory_mib / 1024 for board, found in boards.items()}, **config["gibOfGpus"]}
    sizes = [float(known[board]) for board in here if board in known]
    return count * max(sizes) if sizes else None
