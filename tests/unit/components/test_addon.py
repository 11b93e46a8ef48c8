"""Add-ons: which way they come into the cluster, and what each way is made of."""

from __future__ import annotations

import typing
from typing import Any

import pytest

from components.addon.component import AddonArgs, make_crd_reference, make_release, rehearsed_crds
from components.addon.settings import AddonName, AddonSettings, Mode
from components.cluster.settings import Place
from components.gpu import builders as gpu
from components.gpu.settings import GpuSettings
from components.settings import load_role
from inferstack.errors import UserError
from inferstack.versions import load as load_versions

CHART = {"chart": "some-chart", "version": "v1", "repo": "https://charts.invalid"}
ARGS = AddonArgs("gpu-operator", "gpu-operator", Mode.CHART, ("clusterpolicies.nvidia.com",), {"a": 1})


def settings(**given: Any) -> AddonSettings:
    """Return the role's settings with ``given`` over the defaults."""
    return load_role("addon", AddonSettings, given)


@pytest.mark.parametrize(
    ("given", "place", "mode"),
    [
        ({}, Place.LOCAL, Mode.REHEARSED),
        ({}, Place.EXISTING, Mode.CHART),
        ({"mode": "present"}, Place.LOCAL, Mode.PRESENT),
        ({"mode": "chart"}, Place.LOCAL, Mode.CHART),
        ({"modes": {"gpu-operator": "present"}}, Place.EXISTING, Mode.PRESENT),
        # An add-on's own mode goes before the mode of all, and may be auto again.
        ({"mode": "present", "modes": {"gpu-operator": "chart"}}, Place.EXISTING, Mode.CHART),
        ({"mode": "present", "modes": {"gpu-operator": "auto"}}, Place.LOCAL, Mode.REHEARSED),
    ],
)
def test_the_mode_of_an_addon(given: dict[str, Any], place: Place, mode: Mode) -> None:
    assert settings(**given).mode_of("gpu-operator", place) is mode


@pytest.mark.parametrize(
    ("given", "key"),
    [({"mode": "rehearsed"}, "mode"), ({"modes": {"gpu-operator": "rehearsed"}}, "modes.gpu-operator")],
)
def test_a_rehearsed_addon_on_a_real_cluster(given: dict[str, Any], key: str) -> None:
    settings(**given).check_place(Place.LOCAL)
    with pytest.raises(UserError, match=rf"^inferstack:addon\.{key}: rehearsed is for the place local only"):
        settings(**given).check_place(Place.EXISTING)


@pytest.mark.parametrize(
    ("given", "chart", "where"),
    [
        ({}, CHART, {"chart": "some-chart", "version": "v1", "repositoryOpts": {"repo": "https://charts.invalid"}}),
        (
            {"timeoutSeconds": 60},
            {**CHART, "repo": "oci://charts.invalid/all"},
            {"chart": "oci://charts.invalid/all/some-chart", "version": "v1", "timeout": 60},
        ),
        # A mirror holds packed charts: the version is in the file's name.
        ({"mirror": "/srv/charts"}, CHART, {"chart": "/srv/charts/some-chart-v1.tgz"}),
    ],
    ids=["repository", "oci", "mirror"],
)
def test_a_release_whole(given: dict[str, Any], chart: dict[str, str], where: dict[str, Any]) -> None:
    common = {"name": "gpu-operator", "namespace": "gpu-operator", "values": {"a": 1}, "timeout": 1800, "atomic": False}
    assert make_release(ARGS, settings(**given), chart) == {**common, **where}


@pytest.mark.parametrize("addon", typing.get_args(AddonName))
def test_each_addon_has_a_pinned_chart_and_a_rehearsal(addon: AddonName) -> None:
    pin = load_versions()["charts"][addon]
    assert pin.keys() == {"chart", "version", "repo"}
    assert pin["repo"].startswith(("https://", "oci://"))
    assert {crd["kind"] for crd in rehearsed_crds(addon)} == {"CustomResourceDefinition"}


def test_what_is_read_of_a_present_addon_is_what_a_rehearsed_one_brings() -> None:
    crd = rehearsed_crds("gpu-operator")[0]
    reference = make_crd_reference(gpu.CRD)
    assert reference["metadata"] == {"name": crd["metadata"]["name"]}
    assert {key: crd[key] for key in ("apiVersion", "kind")} == {key: reference[key] for key in ("apiVersion", "kind")}


def test_the_rehearsed_kind_takes_the_policy_that_we_write() -> None:
    crd = rehearsed_crds("gpu-operator")[0]
    policy = gpu.make_cluster_policy(load_role("gpu", GpuSettings, None))
    version = crd["spec"]["versions"][0]
    assert policy["apiVersion"] == f"{crd['spec']['group']}/{version['name']}"
    assert policy["kind"] == crd["spec"]["names"]["kind"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    # The API server drops fields that the schema lacks: each of ours must be there, and each required one be ours.
    assert set(schema["required"]) <= policy["spec"].keys() <= schema["properties"].keys()
    for part, content in policy["spec"].items():
        assert content.keys() <= schema["properties"][part]["properties"].keys(), part
