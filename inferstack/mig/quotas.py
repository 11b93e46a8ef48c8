"""What ResourceQuotas of GPUs and MIG instances amount to, in slices and shares of GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from inferstack.apimachinery.objects import ReadOnlyObject
from inferstack.mig import catalogue
from inferstack.mig.cost import Line, line
from inferstack.mig.pods import count_resources
from inferstack.mig.resources import GPU_RESOURCE, is_gpu, is_mig, profile_of

_REQUESTS = "requests."


def quota(owner: str, hard: Mapping[str, str], model: str, price: float | None = None) -> Line:
    """Return what a ResourceQuota allows of a board, in slices and shares of GPUs.

    Args:
        owner: the namespace.
        hard: ``spec.hard`` of the quota: ``requests.nvidia.com/mig-<profile>`` and ``requests.nvidia.com/gpu``, the
            latter as whole GPUs; quotas of other things are left out.
        model: the board that the namespace's GPUs have; a profile's name alone does not tell it.
        price: USD for an hour of the whole GPU.

    Raises:
        CatalogueError: the board has no such profile.
        LayoutError: a quantity that is not a whole number.
    """
    board = catalogue.gpu(model)
    total = Line(owner, usd_per_hour=None if price is None else 0.0)
    for key, quantity in sorted(hard.items()):
        resource = key.removeprefix(_REQUESTS)
        if not is_gpu(resource):
            continue
        count = count_resources(owner, {key: quantity}, lambda _: True)[key]
        if resource == GPU_RESOURCE:
            usd = None if price is None else count * price
            more = Line(owner, count, count * board.memory_slices, count * board.compute_slices, Fraction(count), usd)
        else:
            more = line(owner, model, profile_of(resource), count, price)
        total = total.plus(more)
    return total


def read_quotas(
    boards: Mapping[str, int], quotas: Iterable[ReadOnlyObject], prices: Mapping[str, float]
) -> tuple[tuple[Line, ...], dict[str, str]]:
    """Return a line for each namespace with a quota of GPUs, and why others were left out.

    Args:
        boards: GPUs of each board in the cluster. Of those that have a quota's profiles the one of most GPUs counts.
        quotas: ResourceQuotas as the API server gives them; of several of a namespace the tightest counts, as all hold.
        prices: USD for an hour of a whole GPU, by board.

    Raises:
        LayoutError: a quantity that is not a whole number.
    """
    lines: dict[str, Line] = {}
    left_out = {}
    for one in quotas:
        namespace, hard = one["metadata"]["namespace"], (one.get("spec") or {}).get("hard") or {}
        asked = {key.removeprefix(_REQUESTS) for key in hard}
        profiles = set(filter(is_mig, asked))
        fitting = [
            (-gpus, name)
            for name, gpus in boards.items()
            if profiles <= {profile.resource for profile in catalogue.gpu(name).profiles.values()}
        ]
        if not fitting:
            if profiles:
                told = ", ".join(sorted(profiles))
                left_out[f"ResourceQuota {namespace}/{one['metadata']['name']}"] = f"no board here has {told}"
            continue
        model = min(fitting)[1]
        found = quota(namespace, hard, model, prices.get(model))
        if found.instances:
            lines[namespace] = min(lines.get(namespace, found), found, key=lambda quota: quota.gpus)
    return tuple(lines[namespace] for namespace in sorted(lines)), left_out
