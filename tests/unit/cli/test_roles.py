"""The table of roles."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.cli.stack.roles import identity_of, make_rows, objects_of, role_of

PLATFORM = "inferstack:platform:Platform"


def urn(*chain: str, name: str) -> str:
    """Return the URN of a resource below components."""
    return f"urn:pulumi:local::inferstack::{'$'.join(chain)}::{name}"


def config_map(role: str, name: str) -> dict[str, Any]:
    """Return a ConfigMap of a role as a state holds it."""
    kind = "kubernetes:core/v1:ConfigMap"
    inputs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": role}}
    return {"urn": urn(PLATFORM, f"inferstack:{role}:Role", kind, name=name), "type": kind, "inputs": inputs}


def addon(role: str, name: str) -> dict[str, Any]:
    """Return an add-on's component."""
    kind = "inferstack:addon:Addon"
    return {"urn": urn(PLATFORM, f"inferstack:{role}:Role", kind, name=name), "type": kind}


RELEASE = {
    "urn": urn(PLATFORM, "inferstack:mesh:Mesh", "inferstack:addon:Addon", "kubernetes:helm.sh/v3:Release", name="x"),
    "type": "kubernetes:helm.sh/v3:Release",
    "inputs": {"name": "x"},
}
STACK = {"urn": urn("pulumi:pulumi:Stack", name="inferstack-local"), "type": "pulumi:pulumi:Stack", "inputs": {}}


@pytest.mark.parametrize(
    ("chain", "role"),
    [
        ((PLATFORM, "inferstack:mesh:Mesh", "inferstack:addon:Addon", "kubernetes:core/v1:ConfigMap"), "mesh"),
        (
            (PLATFORM, "inferstack:cluster:Cluster", "inferstack:cluster:AwsCluster", "aws:eks/cluster:Cluster"),
            "cluster",
        ),
        ((PLATFORM,), None),
        (("pulumi:pulumi:Stack",), None),
    ],
)
def test_the_role_of_a_resource(chain: tuple[str, ...], role: str | None) -> None:
    assert role_of(urn(*chain, name="x")) == role


def test_a_row_for_each_role_in_the_order_of_the_state() -> None:
    resources = [STACK, config_map("gpu", "a"), addon("gpu", "gpu-operator"), addon("mesh", "istiod"), RELEASE]
    resources += [config_map("gpu", "b")]
    there = {identity_of(inputs) for inputs in objects_of(resources)}
    rows = make_rows(resources, there, {"gpu-operator": {"mode": "rehearsed", "version": "v1"}})
    assert rows == [
        {"role": "gpu", "ready": "2/2", "add-ons": "gpu-operator v1 (rehearsed)", "message": ""},
        {"role": "mesh", "ready": "0/0", "add-ons": "istiod (present)", "message": ""},
    ]


def test_what_is_not_there_is_named() -> None:
    resources = [config_map("gpu", name) for name in "abcde"]
    (row,) = make_rows(resources, {identity_of(resources[0]["inputs"])}, {})
    assert row["ready"] == "1/5"
    assert row["message"] == "not there: ConfigMap gpu/b, ConfigMap gpu/c, ConfigMap gpu/d and 1 more"
