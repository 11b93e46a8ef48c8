"""NICs, ranges of virtual functions and the switches above nodes."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.network import nics, ranges, topology
from inferstack.network.ranges import Range

LEVELS = ("leaf", "block", "spine")


def test_nics_are_unique_and_complete() -> None:
    models = nics.load()
    ids = [(nic.vendor, nic.device) for nic in models.values()]
    assert len(set(ids)) == len(ids)
    for nic in models.values():
        assert all(re.fullmatch("[0-9a-f]{4}", each) for each in (nic.vendor, nic.device, nic.vf_device)), nic.name
        assert 1 <= nic.max_vfs <= 256
        assert nic.max_mtu > nics.MIN_ETHERNET_MTU
        assert set(nic.links) <= {"eth", "ib"}
        assert nic.sources


def test_nics_are_matched_by_selector() -> None:
    assert [nic.name for nic in nics.find("15b3", "1021")] == ["ConnectX-7"]
    assert nics.find("8086", "1021") == ()
    assert {nic.vendor for nic in nics.find("8086", None)} == {"8086"}
    assert len(nics.find(None, None)) == len(nics.load())


@pytest.mark.parametrize(
    ("text", "vfs", "expected"),
    [
        ("ens1f0", 8, Range("ens1f0", 0, 7)),
        ("ens1f0#0-7", 8, Range("ens1f0", 0, 7)),
        ("ens1f0#3-3", 8, Range("ens1f0", 3, 3)),
        ("p1", 1, Range("p1", 0, 0)),
    ],
)
def test_port_range_is_parsed(text: str, vfs: int, expected: Range) -> None:
    assert ranges.parse(text, vfs) == expected


@pytest.mark.parametrize("text", ["", "#0-1", "a#", "a#1", "a#1-", "a#-1", "a#0-1#2", "a b", "a#x-y", "a#2-1", "a#0-8"])
def test_invalid_port_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        ranges.parse(text, 8)


SPANS = st.builds(
    lambda port, ends: Range(port, *sorted(ends)),
    st.sampled_from(["a", "b"]),
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
)


@given(SPANS, SPANS)
def test_ranges_overlap_where_they_share_a_function(first: Range, second: Range) -> None:
    functions, other_functions = (
        {(each.port, n) for n in range(each.first, each.last + 1)} for each in (first, second)
    )
    assert first.overlaps(second) == second.overlaps(first) == bool(functions & other_functions)


NODES = st.dictionaries(
    st.sampled_from([f"n{index}" for index in range(8)]),
    st.fixed_dictionaries({}, optional={level: st.sampled_from(["x", "y", "z"]) for level in LEVELS}),
)


def test_nodes_below_each_switch() -> None:
    nodes = {"b": {"leaf": "l1"}, "a": {"leaf": "l1"}, "c": {"leaf": "l2"}, "d": {}}
    assert topology.below(nodes, "leaf") == {"l1": ("a", "b"), "l2": ("c",)}


def test_closest_nodes_preserve_large_groups() -> None:
    nodes = {f"big-{index}": {"leaf": "l1", "spine": "s"} for index in range(4)}
    nodes |= {f"small-{index}": {"leaf": "l2", "spine": "s"} for index in range(2)}
    assert topology.closest(nodes, LEVELS, 2) == ("small-0", "small-1")
    assert topology.closest(nodes, LEVELS, 3) == ("big-0", "big-1", "big-2")
    assert topology.closest(nodes, LEVELS, 6) == tuple(sorted(nodes))
    assert topology.closest(nodes, LEVELS, 7) is None


@given(NODES, st.integers(1, 8))
def test_no_other_choice_of_nodes_is_closer(nodes: dict[str, dict[str, str]], count: int) -> None:
    def width(names: tuple[str, ...]) -> int:
        shared = [
            index
            for index, level in enumerate(LEVELS)
            if len({nodes[name].get(level) for name in names}) == 1 and level in nodes[names[0]]
        ]
        return min(shared, default=len(LEVELS))

    best = min((width(names) for names in itertools.combinations(sorted(nodes), count)), default=len(LEVELS))
    closest = topology.closest(nodes, LEVELS, count)
    if closest is None:
        assert best == len(LEVELS)
    else:
        assert (len(set(closest)), width(closest)) == (count, best)
