"""What a node publishes, and what it must publish under a layout: told from its labels. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inferstack.mig import catalogue
from inferstack.mig.catalogue import Gpu
from inferstack.mig.errors import LayoutError
from inferstack.mig.layout import Layout, Strategy, advertised_resources, apply_layout, mig_disabled
from inferstack.mig.resources import GPU_RESOURCE, is_gpu
from inferstack.mig.sharing import RENAMED

PRODUCT = "nvidia.com/gpu.product"
COUNT = "nvidia.com/gpu.count"
_CUT, _SHARED, _INVALID = "-MIG-", "-SHARED", "-MIG-INVALID"


class UnknownDevicesError(LayoutError):
    """What GPUs the node has cannot be told, or not yet."""


@dataclass(frozen=True)
class Settings:
    """What the GPU operator was told."""

    layouts: Mapping[str, Layout]
    strategy: Strategy
    default: str
    """Layout of nodes without the label; empty: none."""


def offered(allocatable: Mapping[str, str]) -> dict[str, int]:
    """Return the GPU devices in a node's allocatable, those with 0 left out."""
    found = {name: int(count) for name, count in allocatable.items() if is_gpu(name.removesuffix(RENAMED))}
    return {name: count for name, count in sorted(found.items()) if count}


def expected(labels: Mapping[str, str], settings: Settings, layout: str, current: str) -> dict[str, int]:
    """Return the devices of a node under a layout, before any sharing.

    Args:
        labels: of the node, with those of GPU feature discovery.
        settings: of the GPU operator.
        layout: name of the layout.
        current: name of the layout that the node has now, empty where it has none.

    Raises:
        UnknownDevicesError: the labels do not say which GPUs there are.
        LayoutError: there is no such layout, the node's GPUs cannot take it, or the device plugin would publish
            nothing.
    """
    wanted = settings.layouts.get(layout)
    if wanted is None:
        raise LayoutError(f"the MIG manager's configuration has no layout {layout!r}")
    model = _model(labels)
    now = settings.layouts.get(current)
    before = mig_disabled(_gpus(labels, model, now, settings.strategy))
    # A layout may speak of some GPUs only; the others stay as the present one has cut them.
    states = apply_layout(wanted, model, before if now is None else apply_layout(now, model, before))
    found = advertised_resources(model, states, settings.strategy)
    if found.problem:
        raise LayoutError(f"under {layout!r} the device plugin would publish nothing: {found.problem}")
    return {name: count for name, count in sorted(found.capacity.items()) if count}


def matches(wanted: Mapping[str, int], labels: Mapping[str, str], allocatable: Mapping[str, str]) -> bool:
    """Tell whether a node publishes what it must, each device once or, where it is shared, as often as its label says.

    Args:
        wanted: as of `expected`.
        labels: of the node.
        allocatable: of the node.
    """
    found: dict[str, int] = {}
    for name, count in offered(allocatable).items():
        resource = name.removesuffix(RENAMED)
        found[resource] = found.get(resource, 0) + count
    if found.keys() != wanted.keys():
        return False
    return all(found[name] in (count, count * _replicas(labels, name)) for name, count in wanted.items())


def tell(devices: Mapping[str, int]) -> str:
    """Return devices as people read them."""
    return ", ".join(f"{count} {name.removeprefix('nvidia.com/')}" for name, count in devices.items()) or "nothing"


def _replicas(labels: Mapping[str, str], resource: str) -> int:
    text = labels.get(f"{resource}.replicas", "")
    return int(text) if text.isdecimal() and int(text) else 1


def _model(labels: Mapping[str, str]) -> Gpu:
    product = labels.get(PRODUCT)
    if product is None:
        raise UnknownDevicesError(f"the node has no label {PRODUCT}: has it GPUs, and does GPU feature discovery run?")
    plain = product.removesuffix(_SHARED).partition(_CUT)[0]
    found = next((gpu for gpu in catalogue.load().gpus.values() if gpu.product == plain), None)
    if found is None:
        raise UnknownDevicesError(f"the catalogue has no GPU with the product {plain!r}; see `inferstack mig table`")
    return found


def _gpus(labels: Mapping[str, str], model: Gpu, current: Layout | None, strategy: Strategy) -> int:
    """Return the GPUs of a node. Cut ones, under the strategy single, are counted by their instances."""
    text = labels.get(COUNT, "")
    count = int(text) if text.isdecimal() else 0
    product = labels[PRODUCT]
    if product.endswith(_INVALID) or not count:
        raise UnknownDevicesError(
            f"how many GPUs the node has is not known: {COUNT} is {text!r}, {PRODUCT} {product!r}"
        )
    if strategy != "single" or _CUT not in product:
        return count
    if current is None:
        raise UnknownDevicesError(
            f"how many GPUs the node has is not known: {COUNT} counts instances, of no known layout"
        )
    each = advertised_resources(model, apply_layout(current, model, mig_disabled(1)), strategy).capacity.get(
        GPU_RESOURCE, 0
    )
    if not each or count % each:
        raise UnknownDevicesError(
            f"{COUNT} {count} is no multiple of the {each} instances that each GPU has under its layout"
        )
    return count // each
