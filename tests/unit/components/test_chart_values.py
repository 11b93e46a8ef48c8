"""Values held against a chart's defaults: what is a typo, what is free."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.addon.values import check, explain
from inferstack.toolchain.charts import Pin, pins
from tests import reference

DEFAULTS: dict[str, Any] = yaml.safe_load("""
name: x
flag: true
count: 3
share: 0.5
list: [a]
nothing: null
text: ""
open: {}
nested: {inside: {deep: 1}}
resources: {limits: {cpu: 1}}
nodeSelector: {kubernetes.io/os: linux}
mesh: {known: 1}
""")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nam": 1}, "v.nam: the chart has no such value; did you mean name?"),
        ({"nested": {"insid": 1}}, "v.nested.insid: the chart has no such value; did you mean inside?"),
        ({"nested": {"inside": {"zzz": 1}}}, "v.nested.inside.zzz: the chart has no such value; it has deep."),
        ({"flag": "true"}, 'v.flag: expected true or false like the default true, got "true".'),
        ({"count": True}, "v.count: expected a number like the default 3, got true."),
        ({"name": 5}, 'v.name: expected a string like the default "x", got 5.'),
        ({"list": "a"}, 'v.list: expected a list like the default ["a"], got "a".'),
        ({"nested": 1}, "v.nested: expected a mapping, got 1."),
        ({"open": [1]}, "v.open: expected a mapping, got [1]."),
        ({"mesh": {"other": 1}}, "v.mesh.other: the chart has no such value; it has known."),
    ],
)
def test_what_a_chart_cannot_mean(values: dict[str, Any], message: str) -> None:
    assert explain(check(values, DEFAULTS), "v") == message


@pytest.mark.parametrize(
    "values",
    [
        {"name": "", "flag": False, "count": 4.5, "share": 1, "list": []},
        {"name": None, "nested": None},
        {"nothing": {"any": 1}, "text": 7, "open": {"any": {"thing": 1}}},
        {"resources": {"requests": {"memory": "1Gi"}}, "nodeSelector": {"role": "gpu"}},
        {"nested": {"inside": {"deep": 2}}},
    ],
)
def test_what_a_chart_takes(values: dict[str, Any]) -> None:
    assert list(check(values, DEFAULTS)) == []


def test_a_path_that_is_free() -> None:
    assert list(check({"mesh": {"other": 1}}, DEFAULTS, ["mesh"])) == []


def test_the_wrapper_of_istios_charts_is_looked_through() -> None:
    wrapped = {"_internal_defaults_do_not_set": DEFAULTS, "global": {}}
    assert explain(check({"nam": 1, "nested": {"inside": {}}}, wrapped), "v").startswith("v.nam: ")


@pytest.mark.reference
@pytest.mark.parametrize("pin", pins().values(), ids=lambda pin: pin.chart)
def test_a_charts_own_defaults_are_right_and_a_typo_in_any_of_them_is_not(pin: Pin) -> None:
    defaults = reference.chart_values(pin)
    values = defaults.get("_internal_defaults_do_not_set", defaults)
    assert list(check(values, defaults)) == []
    for key in values:
        ((path, _),) = check({f"{key}Typo": 1}, defaults)
        assert path == (f"{key}Typo",)


_KEYS = st.text("abc", min_size=1, max_size=3)
_TREES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text("xy", max_size=3), st.none()),
    lambda below: st.dictionaries(_KEYS, below, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS, _TREES, max_size=5))
def test_whatever_a_chart_has_as_default_it_takes(defaults: dict[str, Any]) -> None:
    assert list(check(copy.deepcopy(defaults), defaults)) == []
