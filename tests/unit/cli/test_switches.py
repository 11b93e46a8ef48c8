"""What ``inferstack node switches`` makes of the labels of nodes."""

from __future__ import annotations

import pytest

from inferstack.cli.node.switches import make_closest, make_rows
from inferstack.errors import UserError

LEVELS = ("leaf", "spine")
NODES = {
    "a": {"leaf": "l1", "spine": "s1"},
    "b": {"leaf": "l1", "spine": "s1"},
    "c": {"leaf": "l2", "spine": "s1"},
    "d": {},
}


def test_a_row_for_each_switch_nearest_first() -> None:
    assert make_rows(NODES, LEVELS) == [
        {"level": "leaf", "switch": "l1", "count": 2, "nodes": ["a", "b"]},
        {"level": "leaf", "switch": "l2", "count": 1, "nodes": ["c"]},
        {"level": "spine", "switch": "s1", "count": 3, "nodes": ["a", "b", "c"]},
    ]
    assert make_rows({"d": {}}, LEVELS) == []


@pytest.mark.parametrize(
    ("count", "names", "level"), [(1, ["c"], "leaf"), (2, ["a", "b"], "leaf"), (3, ["a", "b", "c"], "spine")]
)
def test_the_closest_nodes_with_the_switch_above_them(count: int, names: list[str], level: str) -> None:
    rows = make_closest(NODES, LEVELS, count)
    assert [row["node"] for row in rows] == names
    assert {(row["level"], row["below"]) for row in rows} == {(level, NODES[names[0]][level])}


def test_more_nodes_than_any_switch_has_are_refused() -> None:
    with pytest.raises(UserError, match="No switch has 4 nodes below it; the largest has 3"):
        make_closest(NODES, LEVELS, 4)
