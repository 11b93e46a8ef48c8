"""The cost of MIG instances, by the share of a GPU that an instance occupies.

The share is the larger of the instance's compute share and memory share, because what remains of one is unusable
without the other: seven 1g.10gb leave an eighth of the memory idle and still fill the GPU, two 3g.40gb a seventh of the
compute. Shares can add up to more than 1: 4g.40gb and 3g.40gb are 4/7 and 1/2. Then the price is divided in proportion,
so that pods never pay for more than the GPU. What they do not pay is the idle part; both always add up to the price.
Prices are in USD per hour and come from the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from inferstack.mig import catalogue
from inferstack.mig.fleet import FleetGpu, Instance


def share(model: str, profile: str) -> Fraction:
    """Return the share of a GPU that an instance occupies, above 0 and at most 1.

    Raises:
        CatalogueError: the GPU model or the profile is not in the catalogue.
    """
    gpu_model = catalogue.gpu(model)
    gpu_profile = gpu_model.profile(profile)
    return max(
        Fraction(gpu_profile.compute_slices, gpu_model.compute_slices),
        Fraction(gpu_profile.memory_slices, gpu_model.memory_slices),
    )


@dataclass(frozen=True)
class PriceSplit:
    """The division of the price of one GPU."""

    instances: Mapping[Instance, Fraction]
    """Share of the price of each instance in use."""
    idle: Fraction
    """Share that no pod pays."""


def split_price(gpu: FleetGpu) -> PriceSplit:
    """Divide the price of a GPU, taken as 1."""
    shares = {instance: share(gpu.model, instance.profile) for instance in gpu.instances if not instance.idle}
    total = sum(shares.values(), Fraction(0))
    divisor = max(Fraction(1), total)
    paid = {instance: part / divisor for instance, part in shares.items()}
    return PriceSplit(paid, 1 - sum(paid.values(), Fraction(0)))


@dataclass(frozen=True)
class Allocation:
    """GPU capacity that one owner uses or may use, and its cost."""

    owner: str
    instances: int = 0
    memory_slices: int = 0
    compute_slices: int = 0
    gpus: Fraction = Fraction(0)
    """Sum of shares of GPUs."""
    usd_per_hour: float | None = 0.0
    """None if a GPU model has no price."""

    def plus(self, other: Allocation) -> Allocation:
        """Return the sum with another allocation, for this owner."""
        priced = self.usd_per_hour is not None and other.usd_per_hour is not None
        return Allocation(
            self.owner,
            self.instances + other.instances,
            self.memory_slices + other.memory_slices,
            self.compute_slices + other.compute_slices,
            self.gpus + other.gpus,
            (self.usd_per_hour or 0.0) + (other.usd_per_hour or 0.0) if priced else None,
        )


def make_allocation(
    owner: str, model: str, profile: str, count: int, price: float | None, gpus: Fraction | None = None
) -> Allocation:
    """Return the allocation of instances of one profile.

    Args:
        owner: the owner.
        model: name of the GPU model.
        profile: name of the profile.
        count: number of instances.
        price: USD per hour of a whole GPU; None: unknown.
        gpus: share of GPUs that they pay for together (default: `share` of each).
    """
    gpu_profile = catalogue.gpu(model).profile(profile)
    part = share(model, profile) * count if gpus is None else gpus
    usd = None if price is None else float(part) * price
    return Allocation(owner, count, gpu_profile.memory_slices * count, gpu_profile.compute_slices * count, part, usd)


def allocations_by_owner(
    gpus: Iterable[FleetGpu], prices: Mapping[str, float], owner_of: Callable[[Instance], str]
) -> dict[str, Allocation]:
    """Return the allocation of each owner, and the idle rest under an empty name.

    Args:
        gpus: the GPUs of a fleet.
        prices: USD per hour of a whole GPU, by GPU model.
        owner_of: returns the owner of an instance in use, such as its demand or the namespace of its pod.
    """
    allocations: dict[str, Allocation] = {}
    for gpu in gpus:
        price = prices.get(gpu.model)
        parts = split_price(gpu)
        for instance, part in parts.instances.items():
            owner = owner_of(instance)
            allocation = make_allocation(owner, gpu.model, instance.profile, 1, price, part)
            allocations[owner] = allocations.get(owner, Allocation(owner)).plus(allocation)
        idle = Allocation("", 0, 0, 0, parts.idle, None if price is None else float(parts.idle) * price)
        allocations[""] = allocations.get("", Allocation("")).plus(idle)
    return allocations
