"""Add-ons: which way they come into the cluster, and what each way is made of."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest

from components.addon.catalogue import AddonName, Facts, load
from components.addon.plan import (
    make_addons,
    make_release,
    owned,
    rehearsed_crds,
    resolve,
)
from components.addon.settings import AddonSettings, Mode
from components.addon.values import check
from components.cluster.settings import Place
from components.objects import LABELS
from components.settings import load_role
from inferstack.apimachinery.labels import ADDON
from inferstack.errors import UserError
from inferstack.toolchain.charts import Pin, pins
from tests.chart_values import ChartDefaults
from tests.charts import make_chart, make_crd

PIN = Pin("some-chart", "v1", "https://charts.invalid")
FACTS = Facts(namespace="there", privileged=False, crds=("things.example.com",), rehearsed="none")
NAMES: tuple[AddonName, ...] = typing.get_args(AddonName)


def settings(**given: Any) -> AddonSettings:
    """Return the role's settings with ``given`` over the defaults."""
    return load_role("addon", AddonSettings, given)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder with a chart of KEDA's name and pin, with two values and a CRD."""
    values = {"replicas": 1, "resources": {"limits": {"cpu": 1}}, "operator": {"name": "keda", "extra": {}}}
    make_chart(tmp_path, pins()["keda"], values, [make_crd("things.example.com")])
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "place", "present", "resolved"),
    [
        (Mode.AUTO, Place.LOCAL, False, Mode.REHEARSED),
        (Mode.AUTO, Place.LOCAL, True, Mode.REHEARSED),
        (Mode.AUTO, Place.EXISTING, False, Mode.CHART),
        (Mode.AUTO, Place.EXISTING, True, Mode.PRESENT),
        (Mode.AUTO, Place.AWS, False, Mode.CHART),
        (Mode.CHART, Place.EXISTING, True, Mode.CHART),
        (Mode.PRESENT, Place.LOCAL, False, Mode.PRESENT),
    ],
)
def test_what_auto_means(mode: Mode, place: Place, present: bool, resolved: Mode) -> None:
    assert resolve(mode, place, present=present) is resolved


def test_an_addons_own_mode_goes_before_the_mode_of_all() -> None:
    given = settings(mode="present", modes={"keda": "chart", "fluid": "auto"})
    assert [given.mode_of(name) for name in ("keda", "fluid", "istiod")] == [Mode.CHART, Mode.AUTO, Mode.PRESENT]


@pytest.mark.parametrize(
    ("given", "key"), [({"mode": "rehearsed"}, "mode"), ({"modes": {"keda": "rehearsed"}}, "modes.keda")]
)
@pytest.mark.parametrize("place", [Place.EXISTING, Place.AWS])
def test_a_rehearsed_addon_on_a_real_cluster(given: dict[str, Any], key: str, place: Place) -> None:
    settings(**given).check_place(Place.LOCAL)
    with pytest.raises(UserError, match=rf"^inferstack:addon\.{key}: rehearsed is for the place local only"):
        settings(**given).check_place(place)


@pytest.mark.parametrize(
    ("given", "repo", "where"),
    [
        ({}, PIN.repo, {"chart": "some-chart", "version": "v1", "repositoryOpts": {"repo": PIN.repo}}),
        (
            {"timeoutSeconds": 60},
            "oci://charts.invalid/all",
            {"chart": "oci://charts.invalid/all/some-chart", "version": "v1", "timeout": 60},
        ),
        # A mirror holds packed charts: the version is in the file's name.
        ({"mirror": "/srv/charts"}, PIN.repo, {"chart": "/srv/charts/some-chart-v1.tgz"}),
    ],
    ids=["repository", "oci", "mirror"],
)
def test_a_release_whole(given: dict[str, Any], repo: str, where: dict[str, Any]) -> None:
    common = {"name": "keda", "namespace": "there", "values": {"a": 1}, "timeout": 1800, "atomic": False}
    pin = Pin(PIN.chart, PIN.version, repo)
    release = make_release("keda", FACTS, {"a": 1}, settings(**given), pin)
    assert release == {**common, "skipCrds": True, **where}


def test_a_chart_brings_its_crds_and_the_values_of_role_and_stack(mirror: Path) -> None:
    given = settings(mode="chart", mirror=str(mirror), values={"keda": {"operator": {"extra": {"x": 1}}}})
    plan = make_addons(given, Place.LOCAL, {"keda": {"replicas": 2}}, ())["keda"]
    assert plan.mode is Mode.CHART
    assert [crd["metadata"] for crd in plan.crds] == [{"name": "things.example.com", "labels": LABELS}]
    assert plan.release["values"] == {"replicas": 2, "operator": {"extra": {"x": 1}}}


def test_values_that_the_chart_does_not_know_are_told_all_at_once(mirror: Path) -> None:
    over = {"keda": {"operatr": 1, "operator": {"nam": "x"}, "replicas": "two", "resources": {"anything": "goes"}}}
    with pytest.raises(UserError) as caught:
        make_addons(settings(mode="chart", mirror=str(mirror), values=over), Place.LOCAL, {"keda": {"oops": 1}}, ())
    assert str(caught.value).splitlines() == [
        "inferstack:addon.values.keda.operatr: the chart has no such value; did you mean operator?",
        "inferstack:addon.values.keda.operator.nam: the chart has no such value; did you mean name?",
        'inferstack:addon.values.keda.replicas: expected a number like the default 1, got "two".',
        f"values of the chart keda {pins()['keda'].version}.oops: the chart has no such value; "
        "it has global, operator, replicas, resources.",
    ]


def test_values_for_an_addon_that_nobody_wants(mirror: Path) -> None:
    with pytest.raises(
        UserError, match=r"^inferstack:addon\.values\.fluid: no role of this stack uses it; used are keda"
    ):
        make_addons(settings(values={"fluid": {}}), Place.LOCAL, {"keda": {}}, ())


def test_a_mirror_that_lacks_a_chart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^inferstack:addon\.mirror: {tmp_path} has no {pins()['keda'].file}"):
        make_addons(settings(mode="chart", mirror=str(tmp_path)), Place.LOCAL, {"keda": {}}, ())


def test_a_marker_tells_whose_an_addon_is(mirror: Path) -> None:
    marker = make_addons(settings(), Place.LOCAL, {"keda": {}}, ())["keda"].marker
    assert marker["metadata"]["labels"] == {**LABELS, ADDON: "keda"}
    assert marker["data"] == {"mode": "rehearsed", "version": pins()["keda"].version}


def test_a_crd_keeps_its_schema_and_loses_what_a_server_wrote() -> None:
    crd = {**make_crd("things.example.com"), "status": {"conditions": []}}
    crd["metadata"] |= {"creationTimestamp": None, "annotations": {"api-approved.kubernetes.io": "x"}}
    owned_crd = owned(crd)
    assert owned_crd.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert owned_crd["metadata"] == {
        "name": "things.example.com",
        "annotations": {"api-approved.kubernetes.io": "x"},
        "labels": LABELS,
    }
    assert owned_crd["spec"] == crd["spec"]


@pytest.mark.parametrize("addon", NAMES)
def test_each_addon_has_a_pinned_chart_and_signs_by_which_it_is_known(addon: AddonName) -> None:
    pin, facts = pins()[addon], load()[addon]
    assert pin.repo.startswith(("https://", "oci://"))
    assert facts.signs
    assert sorted(crd["metadata"]["name"] for crd in rehearsed_crds(addon, facts)) == sorted(facts.crds)


@pytest.mark.parametrize("addon", [name for name in NAMES if load()[name].values])
def test_values_that_go_with_our_crds_are_accepted_by_chart(addon: AddonName, chart_defaults: ChartDefaults) -> None:
    assert list(check(load()[addon].values, chart_defaults(addon))) == []
