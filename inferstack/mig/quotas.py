"""ResourceQuotas of GPUs and MIG instances, expressed in slices and shares of GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from inferstack.apimachinery.objects import ReadOnlyObject
from inferstack.mig import catalogue
from inferstack.mig.cost import Allocation, make_allocation
from inferstack.mig.pods import count_resources
from inferstack.mig.resources import GPU_RESOURCE, is_gpu, is_mig, profile_of

_REQUESTS = "requests."


def quota_allocation(owner: str, hard: Mapping[str, str], model: str, price: float | None = None) -> Allocation:
    """Return what a ResourceQuota allows, in slices and shares of GPUs of one model.

    Args:
        owner: the namespace.
        hard: ``spec.hard`` of the quota. ``requests.nvidia.com/mig-<profile>`` and ``requests.nvidia.com/gpu`` count,
            the latter as whole GPUs.
        model: the GPU model of the namespace, which a profile name does not determine.
        price: USD per hour of a whole GPU.

    Raises:
        CatalogueError: the GPU model has no such profile.
        LayoutError: a quantity that is not a whole number.
    """
    gpu_model = catalogue.gpu(model)
    total = Allocation(owner, usd_per_hour=None if price is None else 0.0)
    for key, quantity in sorted(hard.items()):
        resource = key.removeprefix(_REQUESTS)
        if not is_gpu(resource):
            continue
        count = count_resources(owner, {key: quantity}, lambda _: True)[key]
        if resource == GPU_RESOURCE:
            usd = None if price is None else count * price
            item = Allocation(
                owner, count, count * gpu_model.memory_slices, count * gpu_model.compute_slices, Fraction(count), usd
            )
        else:
            item = make_allocation(owner, model, profile_of(resource), count, price)
        total = total.plus(item)
    return total


def quota_allocations(
    gpu_models: Mapping[str, int], quotas: Iterable[ReadOnlyObject], prices: Mapping[str, float]
) -> tuple[tuple[Allocation, ...], dict[str, str]]:
    """Return the allocation of each namespace with a GPU quota, and the omitted quotas, each with the reason.

    Args:
        gpu_models: number of GPUs of each model in the cluster. A quota counts for the model with the most GPUs among
            those that have its profiles.
        quotas: ResourceQuotas as the API server returns them. All of a namespace apply, so the tightest counts.
        prices: USD per hour of a whole GPU, by GPU model.

    Raises:
        LayoutError: a quantity that is not a whole number.
    """
    allocations: dict[str, Allocation] = {}
    left_out = {}
    for quota_object in quotas:
        namespace, hard = quota_object["metadata"]["namespace"], (quota_object.get("spec") or {}).get("hard") or {}
        resources = {key.removeprefix(_REQUESTS) for key in hard}
        profiles = set(filter(is_mig, resources))
        fitting = [
            (-gpus, name)
            for name, gpus in gpu_models.items()
            if profiles <= {profile.resource for profile in catalogue.gpu(name).profiles.values()}
        ]
        if not fitting:
            if profiles:
                names = ", ".join(sorted(profiles))
                left_out[f"ResourceQuota {namespace}/{quota_object['metadata']['name']}"] = f"no board here has {names}"
            continue
        model = min(fitting)[1]
        allocation = quota_allocation(namespace, hard, model, prices.get(model))
        if allocation.instances:
            allocations[namespace] = min(
                allocations.get(namespace, allocation), allocation, key=lambda quota_allocation: quota_allocation.gpus
            )
    return tuple(allocations[namespace] for namespace in sorted(allocations)), left_out
