"""The GPU devices that a node publishes, and those that it must publish with a layout. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inferstack.mig import catalogue
from inferstack.mig.catalogue import Gpu
from inferstack.mig.errors import LayoutError
from inferstack.mig.gpu_operator import COUNT, PRODUCT
from inferstack.mig.layout import Layout, Strategy, advertised_resources, apply_layout, mig_disabled
from inferstack.mig.resources import GPU_RESOURCE, is_gpu
from inferstack.mig.sharing import RENAMED

_CUT, _SHARED, _INVALID = "-MIG-", "-SHARED", "-MIG-INVALID"


class UnknownDevicesError(LayoutError):
    """The node's GPUs are unknown, perhaps only for now."""


@dataclass(frozen=True)
class MigSettings:
    """The MIG settings of the GPU operator."""

    layouts: Mapping[str, Layout]
    strategy: Strategy
    default: str
    """The layout of nodes without the label; empty for none."""


def allocatable_devices(allocatable: Mapping[str, str]) -> dict[str, int]:
    """Return the GPU devices in a node's allocatable, without those of count 0."""
    devices = {name: int(count) for name, count in allocatable.items() if is_gpu(name.removesuffix(RENAMED))}
    return {name: count for name, count in sorted(devices.items()) if count}


def expected_devices(labels: Mapping[str, str], settings: MigSettings, layout: str, current: str) -> dict[str, int]:
    """Return the devices of a node with a layout, before time-slicing or MPS.

    Args:
        labels: of the node, with those of GPU feature discovery.
        settings: of the GPU operator.
        layout: name of the layout.
        current: name of the node's present layout; empty for none.

    Raises:
        UnknownDevicesError: the labels do not tell the node's GPUs.
        LayoutError: there is no such layout, the node's GPUs cannot take it, or the device plugin would publish
            nothing.
    """
    desired = settings.layouts.get(layout)
    if desired is None:
        raise LayoutError(f"the MIG manager's configuration has no layout {layout!r}")
    model = _model(labels)
    now = settings.layouts.get(current)
    before = mig_disabled(_gpus(labels, model, now, settings.strategy))
    # A layout may cover only some GPUs; the others keep the instances of the present one.
    states = apply_layout(desired, model, before if now is None else apply_layout(now, model, before))
    advertised = advertised_resources(model, states, settings.strategy)
    if advertised.problem:
        raise LayoutError(f"with {layout!r} the device plugin would publish nothing: {advertised.problem}")
    return {name: count for name, count in sorted(advertised.capacity.items()) if count}


def matches(desired: Mapping[str, int], labels: Mapping[str, str], allocatable: Mapping[str, str]) -> bool:
    """Return whether a node publishes what it must, each device once or, if shared, as often as its label says.

    Args:
        desired: the result of `expected_devices`.
        labels: of the node.
        allocatable: of the node.
    """
    by_resource: dict[str, int] = {}
    for name, count in allocatable_devices(allocatable).items():
        resource = name.removesuffix(RENAMED)
        by_resource[resource] = by_resource.get(resource, 0) + count
    if by_resource.keys() != desired.keys():
        return False
    return all(by_resource[name] in (count, count * _replicas(labels, name)) for name, count in desired.items())


def format_devices(devices: Mapping[str, int]) -> str:
    """Return devices as text, such as ``7 mig-1g.5gb``."""
    return ", ".join(f"{count} {name.removeprefix('nvidia.com/')}" for name, count in devices.items()) or "nothing"


def _replicas(labels: Mapping[str, str], resource: str) -> int:
    text = labels.get(f"{resource}.replicas", "")
    return int(text) if text.isdecimal() and int(text) else 1


def _model(labels: Mapping[str, str]) -> Gpu:
    product = labels.get(PRODUCT)
    if product is None:
        raise UnknownDevicesError(
            f"the node has no label {PRODUCT}: it has no GPU, or GPU feature discovery does not run"
        )
    plain = product.removesuffix(_SHARED).partition(_CUT)[0]
    model = next((gpu for gpu in catalogue.load().gpus.values() if gpu.product == plain), None)
    if model is None:
        raise UnknownDevicesError(f"the catalogue has no GPU with the product {plain!r}; see `inferstack mig table`")
    return model


def _gpus(labels: Mapping[str, str], model: Gpu, current: Layout | None, strategy: Strategy) -> int:
    """Return the GPU count of a node. With the strategy single, the label counts the instances of partitioned GPUs."""
    text = labels.get(COUNT, "")
    count = int(text) if text.isdecimal() else 0
    product = labels[PRODUCT]
    if product.endswith(_INVALID) or not count:
        raise UnknownDevicesError(f"the node's GPU count is unknown: {COUNT} is {text!r}, {PRODUCT} {product!r}")
    if strategy != "single" or _CUT not in product:
        return count
    if current is None:
        raise UnknownDevicesError(f"the node's GPU count is unknown: {COUNT} counts instances, of no known layout")
    each = advertised_resources(model, apply_layout(current, model, mig_disabled(1)), strategy).capacity.get(
        GPU_RESOURCE, 0
    )
    if not each or count % each:
        raise UnknownDevicesError(
            f"{COUNT} {count} is no multiple of the {each} instances that each GPU has under its layout"
        )
    return count // each
