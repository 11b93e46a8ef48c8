"""What MIG instances cost: by the share of a GPU that an instance blocks.

The share is the larger of the instance's compute share and its memory share, as nobody else can use what is left
without the other: seven 1g.10gb leave an eighth of the memory idle and still fill the GPU, two 3g.40gb a seventh of the
compute. Shares can add up to more than a GPU: 4g.40gb and 3g.40gb are 4/7 and 1/2. There the price is divided in
proportion, so that pods never pay for more than the GPU; what they do not pay is the GPU's idle part. The two always
add up to its price. Money is USD an hour; where the price comes from is the caller's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from inferstack.mig import catalogue
from inferstack.mig.fleet import FleetGpu, Instance


def share(model: str, profile: str) -> Fraction:
    """Return the share of a GPU that an instance blocks, above 0 and at most 1.

    Raises:
        CatalogueError: the board or the profile is not in the catalogue.
    """
    board = catalogue.gpu(model)
    found = board.profile(profile)
    return max(Fraction(found.compute_slices, board.compute_slices), Fraction(found.memory_slices, board.memory_slices))


@dataclass(frozen=True)
class Split:
    """Whom the price of one GPU falls to."""

    instances: Mapping[Instance, Fraction]
    """Share of the price, of each instance that a pod uses."""
    idle: Fraction
    """What no pod pays."""


def split(gpu: FleetGpu) -> Split:
    """Divide the price of a GPU, taken as 1."""
    shares = {instance: share(gpu.model, instance.profile) for instance in gpu.instances if not instance.idle}
    total = sum(shares.values(), Fraction(0))
    over = max(Fraction(1), total)
    paid = {instance: part / over for instance, part in shares.items()}
    return Split(paid, 1 - sum(paid.values(), Fraction(0)))


@dataclass(frozen=True)
class Line:
    """What one owner holds, or may hold."""

    owner: str
    instances: int = 0
    memory_slices: int = 0
    compute_slices: int = 0
    gpus: Fraction = Fraction(0)
    """Shares of GPUs, added up."""
    usd_per_hour: float | None = 0.0
    """None where a board has no price."""

    def plus(self, other: Line) -> Line:
        """Add what another line holds."""
        known = self.usd_per_hour is not None and other.usd_per_hour is not None
        return Line(
            self.owner,
            self.instances + other.instances,
            self.memory_slices + other.memory_slices,
            self.compute_slices + other.compute_slices,
            self.gpus + other.gpus,
            (self.usd_per_hour or 0.0) + (other.usd_per_hour or 0.0) if known else None,
        )


def line(owner: str, model: str, profile: str, count: int, price: float | None, gpus: Fraction | None = None) -> Line:
    """Return the line of instances of one profile.

    Args:
        owner: whose they are.
        model: the board.
        profile: of the board.
        count: instances.
        price: USD for an hour of the whole GPU, or None where there is no price.
        gpus: shares of GPUs that they pay for together; `share` of each when left out.
    """
    found = catalogue.gpu(model).profile(profile)
    part = share(model, profile) * count if gpus is None else gpus
    usd = None if price is None else float(part) * price
    return Line(owner, count, found.memory_slices * count, found.compute_slices * count, part, usd)


def by_owner(
    gpus: Iterable[FleetGpu], prices: Mapping[str, float], owner_of: Callable[[Instance], str]
) -> dict[str, Line]:
    """Return what each owner holds and pays, and under an empty name what nobody pays.

    Args:
        gpus: of a fleet.
        prices: USD for an hour of a whole GPU, by board.
        owner_of: names the owner of an instance in use, such as its demand or the namespace of its pod.
    """
    lines: dict[str, Line] = {}
    for gpu in gpus:
        price = prices.get(gpu.model)
        parts = split(gpu)
        for instance, part in parts.instances.items():
            owner = owner_of(instance)
            more = line(owner, gpu.model, instance.profile, 1, price, part)
            lines[owner] = lines.get(owner, Line(owner)).plus(more)
        rest = Line("", 0, 0, 0, parts.idle, None if price is None else float(parts.idle) * price)
        lines[""] = lines.get("", Line("")).plus(rest)
    return lines
