"""Checks of GPU requests against the nodes of the stack."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.mig import catalogue
from inferstack.mig.resources import GPU_RESOURCE, is_gpu
from inferstack.policy.checks.fleet import NODE_GROUP, charts, gpu_operators, machines, offered, requests
from inferstack.policy.resource import Resource, Stack, get

Findings = Iterator[tuple[Resource | None, str]]
_PARAMETERS = re.compile(r"(?:^|[-_/])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?:$|[-_.])", re.IGNORECASE)
"""Number of parameters in a model's name, in billions: 70B, 8x7B, 1.5b."""
_BYTES = ((0.5, re.compile("int4|fp4|awq|gptq|w4a16", re.IGNORECASE)), (1, re.compile("int8|fp8|w8a8", re.IGNORECASE)))
"""Bytes of a parameter, by the model's name or the server's arguments; two otherwise."""


def kind_on_fleet(stack: Stack, config: Mapping[str, Any]) -> Findings:
    """Check that the nodes of the stack offer the GPU resources that pods request."""
    requested = [(resource, name) for resource, limits in requests(stack) for name in limits if is_gpu(name)]
    if not requested:
        return
    if machines(stack):
        available = {*offered(stack), *config["alsoOffered"]}
        reason = f"nodes of this stack offer {', '.join(sorted(available)) or 'none'}"
    else:
        slices = {profile.resource for gpu in catalogue.load().gpus.values() for profile in gpu.profiles.values()}
        available, reason = {GPU_RESOURCE, *slices, *config["alsoOffered"]}, "no GPU model has this profile"
    for (_, name), resource in {(item.label, name): item for item, name in requested}.items():
        if name not in available:
            yield resource, f"requests {name}; {reason}"


def model_fits(stack: Stack, config: Mapping[str, Any]) -> Findings:
    """Check that the model of each InferenceJob fits into the GPU memory of a replica."""
    for job in stack.of_kind("InferenceJob"):
        needed = _gib_needed(job, config)
        limits = get(job.properties, "spec", "resources", "limits", default={})
        for name in filter(is_gpu, limits):
            available = _gib_available(stack, name, int(limits[name]), config)
            if needed is not None and available is not None and needed > available:
                model = get(job.properties, "spec", "model")
                yield job, f"{model} needs about {needed:.0f} GiB; {limits[name]} x {name} has {available:.0f} GiB"


def driver_from_one_place(stack: Stack, config: Mapping[str, Any]) -> Findings:
    """Check that the GPU operator does not install components of the node image."""
    images = [get(group.properties, "amiType", default="") for group in stack.of_type(NODE_GROUP)]
    preinstalled = sorted(set(images) & set(config["images"]))
    if not preinstalled:
        return
    for resource, values in gpu_operators(stack):
        # Both are enabled by default in the chart.
        twice = [part for part in ("driver", "toolkit") if get(values, part, "enabled", default=True) is not False]
        if twice:
            yield resource, f"installs {' and '.join(twice)}, which {', '.join(preinstalled)} contains"


def one_allocator(stack: Stack, _: Mapping[str, Any]) -> Findings:
    """Check that the DRA driver does not allocate the GPUs of the device plugin."""
    plugins = [
        resource
        for resource, values in gpu_operators(stack)
        if get(values, "devicePlugin", "enabled", default=True) is not False
    ]
    for driver in charts(stack, "nvidia-dra-driver-gpu"):
        allocates = get(driver.properties, "values", "resources", "gpus", "enabled", default=True) is not False
        if plugins and allocates:
            yield driver, f"allocates the same GPUs as the device plugin of {plugins[0].label}"


def _gib_needed(job: Resource, config: Mapping[str, Any]) -> float | None:
    model = get(job.properties, "spec", "model", default="")
    if model in config["gibOfModels"]:
        return float(config["gibOfModels"][model])
    match = _PARAMETERS.search(model)
    if match is None:
        return None
    text = " ".join([model, *map(str, get(job.properties, "spec", "args", default=()))])
    size = next((bytes_ for bytes_, pattern in _BYTES if pattern.search(text)), 2)
    parameters = int(match[1] or 1) * float(match[2]) * 1e9
    return float(parameters * size / 2**30 * (1 + config["reservePercent"] / 100))


def _gib_available(stack: Stack, name: str, count: int, config: Mapping[str, Any]) -> float | None:
    """Return the GPU memory of a replica: of one slice, since servers do not combine slices, or of the largest GPUs."""
    models = catalogue.load().gpus
    here = {machine.gpu for machine in machines(stack) if machine.gpu} or set(models)
    if name != GPU_RESOURCE:
        profiles = [p for model in models.values() for p in model.profiles.values() if p.resource == name]
        return min((profile.memory_mib / 1024 for profile in profiles), default=None)
    known = {**{name: model.memory_mib / 1024 for name, model in models.items()}, **config["gibOfGpus"]}
    sizes = [float(known[model]) for model in here if model in known]
    return count * max(sizes) if sizes else None
