"""What instances and quotas cost: by hand, and what holds of every GPU."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given

from inferstack.mig.cost import Allocation, allocations_by_owner, share, split_price
from inferstack.mig.errors import CatalogueError, LayoutError
from inferstack.mig.fragmentation import measure
from inferstack.mig.planner import FleetGpu, Instance
from inferstack.mig.quotas import quota_allocation
from tests.unit.mig.planner.fleets import A100, H100, RTX
from tests.unit.mig.test_fragmentation import gpus


def _gpu(*placements: tuple[int, str], name: str = "gpu") -> FleetGpu:
    return FleetGpu(name, "n", H100, tuple(Instance(s, p, f"{name}-{s}", f"team-{p[0]}") for s, p in placements))


def test_share_is_larger_of_memory_and_compute() -> None:
    assert share(H100, "1g.10gb") == Fraction(1, 7), "compute: 1 of 7, memory 1 of 8"
    assert share(H100, "1g.20gb") == Fraction(2, 8)
    assert share(H100, "3g.40gb") == Fraction(4, 8)
    assert share(H100, "4g.40gb") == Fraction(4, 7)
    assert share(H100, "7g.80gb") == 1
    with pytest.raises(CatalogueError, match=r"no MIG profile '1g\.5gb'"):
        share(H100, "1g.5gb")


@pytest.mark.parametrize(
    "placements",
    [
        [(start, "1g.10gb") for start in range(7)],
        [(0, "3g.40gb"), (4, "3g.40gb")],
        [(0, "4g.40gb"), (4, "3g.40gb")],
        [(0, "3g.40gb"), (4, "2g.20gb"), (6, "1g.20gb")],
        [(0, "2g.20gb"), (2, "2g.20gb"), (4, "2g.20gb"), (6, "1g.10gb")],
        [(start, "1g.20gb") for start in (0, 2, 4, 6)],
        [(0, "7g.80gb")],
    ],
)
def test_pods_of_full_gpu_pay_full_price(placements: list[tuple[int, str]]) -> None:
    allocation = split_price(_gpu(*placements))
    assert sum(allocation.instances.values()) == 1
    assert allocation.idle == 0


def test_excess_shares_are_scaled_down() -> None:
    four, three = split_price(_gpu((0, "4g.40gb"), (4, "3g.40gb"))).instances.values()
    assert (four, three) == (Fraction(8, 15), Fraction(7, 15))


@given(gpus())
def test_pods_and_idle_part_always_add_up_to_the_price(fleet: list[FleetGpu]) -> None:
    for gpu in fleet:
        allocation = split_price(gpu)
        assert sum(allocation.instances.values()) + allocation.idle == 1
        assert 0 <= allocation.idle <= 1
        used = measure([gpu])
        if used.memory_utilisation == 1 or used.compute_utilisation == 1:
            assert allocation.idle == 0, "nobody else can use the rest"
        assert all(part <= share(gpu.model, instance.profile) for instance, part in allocation.instances.items())
    lines = allocations_by_owner(fleet, {A100: 2.0, H100: 5.0, RTX: 2.0}, lambda instance: instance.demand)
    price = sum(5.0 if gpu.model == H100 else 2.0 for gpu in fleet)
    assert sum(line.usd_per_hour or 0.0 for line in lines.values()) == pytest.approx(price)
    assert sum(line.gpus for line in lines.values()) == len(fleet)


def test_allocations_by_owner() -> None:
    fleet = [
        _gpu((0, "3g.40gb"), (4, "1g.10gb"), name="a"),
        _gpu((0, "1g.10gb"), name="b"),
        FleetGpu("c", "n", H100, (Instance(0, "7g.80gb"),)),
    ]
    lines = allocations_by_owner(fleet, {H100: 14.0}, lambda instance: instance.demand)
    assert lines["team-3"] == Allocation("team-3", 1, 4, 3, Fraction(1, 2), 7.0)
    assert lines["team-1"] == Allocation("team-1", 2, 2, 2, Fraction(2, 7), 4.0)
    assert lines[""].gpus == 3 - Fraction(1, 2) - Fraction(2, 7)
    assert lines[""].instances == 0
    assert allocations_by_owner(fleet, {}, lambda instance: instance.demand)["team-3"].usd_per_hour is None


def test_quota_allocation_in_slices_and_gpus() -> None:
    hard = {
        "requests.nvidia.com/mig-1g.10gb": "7",
        "requests.nvidia.com/mig-3g.40gb": "2",
        "nvidia.com/gpu": "1",
        "requests.cpu": "64",
        "pods": "10",
    }
    assert quota_allocation("team", hard, H100, 10.0) == Allocation("team", 10, 7 + 8 + 8, 7 + 6 + 7, Fraction(3), 30.0)
    assert quota_allocation("team", {"requests.cpu": "1"}, H100) == Allocation("team", usd_per_hour=None)
    assert quota_allocation("team", {"requests.nvidia.com/mig-1g.10gb.me": "1"}, H100).memory_slices == 1
    # The same name is a fourth of the memory on the small A100.
    assert quota_allocation("team", {"requests.nvidia.com/mig-1g.10gb": "1"}, A100).gpus == Fraction(1, 4)


def test_invalid_quota_error_names_it() -> None:
    with pytest.raises(CatalogueError, match=r"H100-80GB-HBM3 has no MIG profile '1g\.5gb'"):
        quota_allocation("team", {"requests.nvidia.com/mig-1g.5gb": "1"}, H100)
    with pytest.raises(LayoutError, match=r"team: requests\.nvidia\.com/gpu: .*'1\.5'"):
        quota_allocation("team", {"requests.nvidia.com/gpu": "1.5"}, H100)
