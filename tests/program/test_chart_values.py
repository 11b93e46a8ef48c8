"""The values that each stack gives to the pinned charts, against the data of tests/chart_values.py and the charts."""

from __future__ import annotations

import pytest

from components.addon.catalogue import AddonName, load
from components.addon.values import check
from tests import chart_values
from tests.chart_values import ADDONS, ChartDefaults
from tests.mirrored import values_of_all_stacks


@pytest.mark.parametrize("addon", ADDONS)
def test_chart_accepts_values_of_all_stacks(addon: AddonName, chart_defaults: ChartDefaults) -> None:
    values = values_of_all_stacks().get(addon, {})
    assert list(check(values, chart_defaults(addon), load()[addon].free)) == []


def test_key_that_is_not_in_the_data_is_refused() -> None:
    ((path, _),) = check({"operator": {"replicas": 2}}, chart_values.defaults_of("keda"))
    assert path == ("operator", "replicas")


@pytest.mark.parametrize("type_", ["boolean", "number", "string", "list"])
def test_default_of_a_type_refuses_other_types(type_: str) -> None:
    defaults = chart_values.with_defaults({"key": type_})
    assert list(check({"key": {}}, defaults))
    assert not list(check(defaults, defaults))


@pytest.mark.reference
@pytest.mark.parametrize("addon", ADDONS)
def test_data_have_the_types_of_the_chart(addon: AddonName) -> None:
    types = chart_values.types_of(addon)
    assert chart_values.describe(addon, types) == types


@pytest.mark.reference
def test_describe_refuses_a_key_that_the_chart_lacks() -> None:
    with pytest.raises(ValueError, match=r"^operator\.replicaCounts: "):
        chart_values.describe("keda", {"operator": {"replicaCounts": "number"}})
    with pytest.raises(ValueError, match=r"^operator: "):
        chart_values.describe("keda", {"operator": "mapping"})
