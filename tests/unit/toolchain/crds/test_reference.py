"""The pinned modules have the CRDs that the pinned charts bring.

The charts' own CRDs are not in this repository: tests/reference.py describes where they come from. The modules are
those of the cache, where `inferstack tools ensure` puts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from inferstack.toolchain import crds
from inferstack.toolchain.crds.extract import slim
from inferstack.versions import load
from tests import reference

FOLDERS = {
    "istio": "istio",
    "keda": "keda",
    "kube-prometheus-stack": "prometheus-operator",
    "node-feature-discovery": "nfd",
    "sriov-network-operator": "sriov",
}
CHARTS = {
    "istio": "istio-base",
    **{name: name for name in ("keda", "node-feature-discovery", "sriov-network-operator")},
}
"""Charts whose version is that of what they install."""
ALLOWED: set[str] = set()
"""Differences that a gap between a module's version and its chart's makes; there is no gap now."""


def differences(actual: Any, expected: Any, path: str) -> Iterator[str]:
    """Tell the paths at which two CRDs differ, and how."""
    if isinstance(actual, dict) and isinstance(expected, dict):
        yield from (f"{path}.{key}: only ours" for key in sorted(actual.keys() - expected.keys()))
        yield from (f"{path}.{key}: missing" for key in sorted(expected.keys() - actual.keys()))
        for key in sorted(actual.keys() & expected.keys()):
            yield from differences(actual[key], expected[key], f"{path}.{key}")
    elif isinstance(actual, list) and isinstance(expected, list) and len(actual) == len(expected):
        for place, (item, expected_item) in enumerate(zip(actual, expected, strict=True)):
            yield from differences(item, expected_item, f"{path}[{place}]")
    elif actual != expected:
        yield f"{path}: {actual!r}, not {expected!r}"


def test_differences_are_reported() -> None:
    actual = {"same": [1], "list": [{"a": 1}], "length": [1], "more": 1}
    expected = {"same": [1], "list": [{"a": 2}], "length": [1, 2], "less": {"b": 1}}
    assert list(differences(actual, expected, "x")) == [
        "x.more: only ours",
        "x.less: missing",
        "x.length: [1], not [1, 2]",
        "x.list[0].a: 1, not 2",
    ]


@pytest.mark.parametrize("addon", crds.sources())
def test_entry_is_pinned_and_agrees_with_the_chart(addon: str) -> None:
    source = crds.sources()[addon]
    assert re.fullmatch(r"v\d+\.\d+\.\d+", source.version)
    assert re.fullmatch(r"h1:[A-Za-z0-9+/]{43}=", source.sum)
    if addon in CHARTS:
        assert source.version == f"v{load()['charts'][CHARTS[addon]]['version']}"


@pytest.mark.parametrize("addon", crds.sources())
def test_crds_are_fit_for_an_api_server_without_their_operator(addon: str) -> None:
    for crd in crds.load(addon):
        spec, name = crd["spec"], crd["metadata"]["name"]
        assert crd["apiVersion"] == "apiextensions.k8s.io/v1", name
        assert name == f"{spec['names']['plural']}.{spec['group']}"
        assert [version["storage"] for version in spec["versions"]].count(True) == 1, name
        # A conversion webhook would be the operator's, and refuse everything while it does not run.
        assert spec.get("conversion", {"strategy": "None"})["strategy"] == "None", name


@pytest.mark.reference
@pytest.mark.parametrize("addon", crds.sources())
def test_crds_are_those_of_the_chart(addon: str) -> None:
    expected = {name: slim(crd, described=False) for name, crd in reference.crds(FOLDERS[addon]).items()}
    actual = {crd["metadata"]["name"]: crd for crd in crds.load(addon)}
    assert expected
    assert actual.keys() == expected.keys()
    assert set(differences(actual, expected, addon)) == ALLOWED
