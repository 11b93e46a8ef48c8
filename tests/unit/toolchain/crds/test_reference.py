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


def differences(ours: Any, theirs: Any, path: str) -> Iterator[str]:
    """Tell the paths at which two CRDs differ, and how."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        yield from (f"{path}.{key}: only ours" for key in sorted(ours.keys() - theirs.keys()))
        yield from (f"{path}.{key}: missing" for key in sorted(theirs.keys() - ours.keys()))
        for key in sorted(ours.keys() & theirs.keys()):
            yield from differences(ours[key], theirs[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{place}]")
    elif ours != theirs:
        yield f"{path}: {ours!r}, not {theirs!r}"


def test_the_comparison_sees_what_differs() -> None:
    ours = {"same": [1], "list": [{"a": 1}], "length": [1], "more": 1}
    theirs = {"same": [1], "list": [{"a": 2}], "length": [1, 2], "less": {"b": 1}}
    assert list(differences(ours, theirs, "x")) == [
        "x.more: only ours",
        "x.less: missing",
        "x.length: [1], not [1, 2]",
        "x.list[0].a: 1, not 2",
    ]


@pytest.mark.parametrize("addon", crds.sources())
def test_an_entry_is_pinned_and_agrees_with_the_chart(addon: str) -> None:
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
    theirs = {name: slim(crd, described=False) for name, crd in reference.crds(FOLDERS[addon]).items()}
    ours = {crd["metadata"]["name"]: crd for crd in crds.load(addon)}
    assert theirs
    assert ours.keys() == theirs.keys()
    assert set(differences(ours, theirs, addon)) == ALLOWED
