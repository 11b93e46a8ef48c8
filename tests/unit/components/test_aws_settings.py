"""Settings of the place aws: what cannot be is refused with its full key."""

from __future__ import annotations

import copy
import datetime
import typing
from typing import Any

import pytest

from components.cluster.aws.settings import Endpoint
from components.cluster.settings import ClusterSettings, Place
from components.gpu.layouts import check_fleet, make_layouts
from components.gpu.settings import GpuSettings
from components.settings import load_role
from inferstack.errors import UserError

TODAY = datetime.date(2026, 11, 25)
KEY = "inferstack:cluster.aws"
ROLE = "arn:aws:iam::123456789012:role/pulumi"
GOOD: dict[str, Any] = {
    "accountId": "123456789012",
    "region": "us-west-2",
    "network": {
        "zones": [
            {"name": "us-west-2a", "nodes": "10.64.0.0/19", "public": "10.64.96.0/24"},
            {"name": "us-west-2b", "nodes": "10.64.32.0/19", "public": "10.64.97.0/24"},
            {"name": "us-west-2c", "nodes": "10.64.64.0/19", "public": "10.64.98.0/24"},
        ]
    },
    "access": {"pulumi": {"principal": ROLE, "policy": "AmazonEKSClusterAdminPolicy"}},
    "gpu": {"h100": {"instanceTypes": ["p5.48xlarge"], "zoneNames": ["us-west-2a"]}},
}


def check(aws: dict[str, Any], today: datetime.date = TODAY) -> ClusterSettings:
    """Load and check settings as the program does."""
    loaded = load_role("cluster", ClusterSettings, {"aws": aws})
    loaded.check_place(Place.AWS, today)
    return loaded


def good(path: str = "", value: Any = None) -> dict[str, Any]:
    """Return good settings with one value replaced, by its dotted path."""
    settings = copy.deepcopy(GOOD)
    if path:
        *parts, last = path.split(".")
        at: Any = settings
        for part in parts:
            at = at[int(part)] if part.isdigit() else at.setdefault(part, {})
        at[int(last) if last.isdigit() else last] = value
    return settings


def group(**keys: Any) -> dict[str, Any]:
    """Return good settings with these keys of the one GPU group."""
    settings = copy.deepcopy(GOOD)
    settings["gpu"]["h100"] |= keys
    return settings


def test_good_settings_are_taken() -> None:
    assert check(good()).aws.gpu["h100"].max_nodes == 1


WRONG: list[tuple[dict[str, Any], str]] = [
    (good("regoin", "us-west-2"), f"{KEY}.regoin: unknown key; did you mean region?"),
    (good("accountId", 123456789012), f"{KEY}.accountId: input should be a valid string"),
    (good("accountId", "12"), f"{KEY}.accountId: string should match pattern"),
    (good("accountId", None), f"{KEY}.accountId: is required with inferstack:place aws."),
    (good("region", None), f"{KEY}.region: is required with inferstack:place aws."),
    (good("region", "eu-west-1"), f'{KEY}.network.zones[0].name: "us-west-2a" is not in the region eu-west-1.'),
    (good("network.cidr", "10.64.0.0/15"), f"{KEY}.network.cidr: 10.64.0.0/15 is"),
    (good("network.cidr", "10.64.0.1/16"), f"{KEY}.network.cidr: expected a network such as 10.64.0.0/16"),
    (
        good("network.cidr", "10.0.0.0/16"),
        f"{KEY}.network.zones[0].nodes: 10.64.0.0/19 lies outside the VPC's 10.0.0.0/16",
    ),
    (
        good("network.zones", GOOD["network"]["zones"][:1]),
        f"{KEY}.network.zones: EKS needs 2 zones or more, got 1",
    ),
    (good("network.zones.1.name", "us-west-2a"), f'{KEY}.network.zones[1].name: "us-west-2a" is a duplicate'),
    (good("network.zones.1.name", "b"), f"{KEY}.network.zones[1].name: string should match"),
    (
        good("network.zones.1.nodes", "10.64.16.0/20"),
        f"{KEY}.network.zones[1].nodes: 10.64.16.0/20 overlaps 10.64.0.0/19 ({KEY}.network.zones[0].nodes).",
    ),
    (
        good("network.zones.2.public", "10.64.97.0/24"),
        f"{KEY}.network.zones[2].public: 10.64.97.0/24 overlaps 10.64.97.0/24 ({KEY}.network.zones[1].public).",
    ),
    (good("network.zones.0.public", "10.64.96.0/29"), f"{KEY}.network.zones[0].public: 10.64.96.0/29 is smaller"),
    (good("network.nat", "none"), f"{KEY}.network.nat: input should be 'zone' or 'single'"),
    (good("network.endpoints", ["s4"]), f"{KEY}.network.endpoints[0]: input should be"),
    (good("serviceCidr", "10.64.128.0/20"), f"{KEY}.serviceCidr: 10.64.128.0/20 overlaps the VPC's 10.64.0.0/16"),
    (good("serviceCidr", "172.20.0.0/28"), f"{KEY}.serviceCidr: 172.20.0.0/28 is"),
    (good("endpoints.publicFrom", ["0.0.0.0/0"]), f"{KEY}.endpoints.publicFrom[0]: 0.0.0.0/0 is everyone"),
    (good("endpoints.privateFrom", ["0.0.0.0/0"]), f"{KEY}.endpoints.privateFrom[0]: 0.0.0.0/0 is everyone"),
    (good("access", {}), f"{KEY}.access: nobody has AmazonEKSClusterAdminPolicy in the whole cluster"),
    (good("access.pulumi.namespaces", ["nlp"]), f"{KEY}.access: nobody has AmazonEKSClusterAdminPolicy"),
    (good("access.pulumi.principal", "pulumi"), f"{KEY}.access.pulumi.principal: string should match"),
    (good("access.pulumi.policy", "Admin"), f"{KEY}.access.pulumi.policy: input should be"),
    (good("access.other", {"principal": ROLE}), f"{KEY}.access.other.principal: {ROLE} has the entry pulumi already."),
    (good("kubernetesVersion", "1.29"), f'{KEY}.kubernetesVersion: "1.29" is no release of EKS that is known here'),
    (good("kubernetesVersion", 1.35), f"{KEY}.kubernetesVersion: input should be a valid string"),
    (
        good("kubernetesVersion", "1.33"),
        f"{KEY}.kubernetesVersion: EKS has supported 1.33 until 2026-07-29 ({KEY}.support: EXTENDED",
    ),
    (good("logs.retentionDays", 10), f"{KEY}.logs.retentionDays: input should be 7, 14"),
    (good("logs.types", ["everything"]), f"{KEY}.logs.types[0]: input should be"),
    (good("addonVersions", {"vpc-cn": "v1"}), f"{KEY}.addonVersions.vpc-cn: input should be"),
    (good("system.minNodes", 9), f"{KEY}.system.minNodes: 9 is more than maxNodes, 6"),
    (good("system.instanceTypes", ["p5.48xlarge"]), f"{KEY}.system.instanceTypes[0]: p5.48xlarge has GPUs"),
    (
        good("system.instanceTypes", ["m6i.2xlrge"]),
        f"{KEY}.system.instanceTypes[0]: unknown instance type 'm6i.2xlrge'",
    ),
    (good("registries.hub", {"registry": "docker.io"}), f"{KEY}.registries.hub.registry: ECR cannot cache docker.io"),
    (
        good("registries.gh", {"registry": "ghcr.io"}),
        f"{KEY}.registries.gh.credential: ECR requires credentials for ghcr.io",
    ),
    (good("models.readers", ["nlp"]), f"{KEY}.models.readers[0]: expected namespace/name such as nlp/default, got nlp"),
    (good("keys.deletionDays", 3), f"{KEY}.keys.deletionDays: input should be greater than or equal to 7"),
    (
        group(instanceTypes=["p5.48xlrge"]),
        f"{KEY}.gpu.h100.instanceTypes[0]: unknown instance type 'p5.48xlrge': known are p5",
    ),
    (group(instanceTypes=["m6i.2xlarge"]), f"{KEY}.gpu.h100.instanceTypes[0]: m6i.2xlarge has no GPU"),
    (
        group(instanceTypes=["p5.48xlarge", "p5e.48xlarge"]),
        f"{KEY}.gpu.h100.instanceTypes[1]: p5e.48xlarge has 8 H200, p5.48xlarge has 8 H100-80GB-HBM3",
    ),
    (
        group(instanceTypes=["p5e.48xlarge", "p5en.48xlarge"], efa=True),
        f"{KEY}.gpu.h100.instanceTypes[1]: p5en.48xlarge and",
    ),
    (
        group(instanceTypes=["g6e.xlarge"], efa=True),
        f"{KEY}.gpu.h100.efa: g6e.xlarge has no EFA; types that have it: g6e.8",
    ),
    (group(efa=True, zoneNames=[]), f"{KEY}.gpu.h100.zoneNames: efa works within one zone"),
    (group(placementGroup=True, zoneNames=[]), f"{KEY}.gpu.h100.zoneNames: placementGroup works within one zone"),
    (
        group(reservation="cr-0123456789abcdef0", zoneNames=[]),
        f"{KEY}.gpu.h100.zoneNames: reservation works within one zone",
    ),
    (
        group(zoneNames=["us-west-2d"]),
        f'{KEY}.gpu.h100.zoneNames[0]: "us-west-2d"',
    ),
    (group(desiredNodes=3), f"{KEY}.gpu.h100.desiredNodes: 3 is not between minNodes 0 and maxNodes 1"),
    (group(minNodes=0, desiredNodes=0, maxNodes=0), f"{KEY}.gpu.h100.desiredNodes: 0 is not between"),
    (
        group(capacity="SPOT", reservation="cr-0123456789abcdef0"),
        f"{KEY}.gpu.h100.reservation: spot nodes are never taken from a reservation",
    ),
    (group(capacity="CAPACITY_BLOCK"), f"{KEY}.gpu.h100.reservation: is required with capacity CAPACITY_BLOCK"),
    (
        group(capacity="CAPACITY_BLOCK", reservation="cr-0123456789abcdef0", instanceTypes=["g6e.48xlarge"]),
        f"{KEY}.gpu.h100.capacity: Capacity Blocks are not available for g6e.48xlarge",
    ),
    (
        group(reservation="cr-0123456789abcdef0", instanceTypes=["p4d.24xlarge", "p4d.24xlarge"]),
        f"{KEY}.gpu.h100.instanceTypes: a reservation has one type, got 2",
    ),
    (group(reservation="r-1"), f"{KEY}.gpu.h100.reservation: string should match"),
    (group(capacity="spot"), f"{KEY}.gpu.h100.capacity: input should be 'ON_DEMAND', 'SPOT' or 'CAPACITY_BLOCK'"),
    (group(diskGib=5), f"{KEY}.gpu.h100.diskGib: input should be greater than or equal to 20"),
    (group(instanceTypes=[]), f"{KEY}.gpu.h100.instanceTypes: needs 1 or more entries"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=[message.partition(": ")[2][:50] for _, message in WRONG])
def test_a_wrong_setting_is_refused_with_its_key(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check(settings)
    assert str(caught.value).startswith(message)


def test_extended_support_is_a_choice() -> None:
    settings = {**good("kubernetesVersion", "1.33"), "support": "EXTENDED"}
    assert check(settings).aws.kubernetes_version == "1.33"
    with pytest.raises(UserError, match=r"EKS has supported 1\.33 until 2027-07-29; use one of 1\.34, 1\.35"):
        check(settings, datetime.date(2027, 7, 30))


def test_a_version_is_good_to_its_last_day() -> None:
    settings = good("kubernetesVersion", "1.34")
    assert check(settings, datetime.date(2026, 12, 2))
    with pytest.raises(UserError, match="until 2026-12-02"):
        check(settings, datetime.date(2026, 12, 3))


@pytest.mark.parametrize(
    ("layout", "types", "message"),
    [
        ("all-1g.5gb", ["p5.48xlarge"], 'layout "all-1g.5gb" does not fit a H100-80GB-HBM3'),
        ("all-1g.5gb", ["g6e.xlarge"], "g6e.xlarge has no GPU"),
        ("all-1g.5bg", ["p4d.24xlarge"], 'there is no layout "all-1g.5bg"; there are all-1g.5gb'),
    ],
)
def test_a_layout_fits_the_gpus(layout: str, types: list[str], message: str) -> None:
    gpu = load_role("gpu", GpuSettings, None)
    loaded = check(group(instanceTypes=types, migLayout=layout))
    with pytest.raises(UserError) as caught:
        check_fleet(make_layouts(gpu), loaded, gpu.mig.strategy)
    assert str(caught.value).startswith(f"{KEY}.gpu.h100.migLayout: {message}")


@pytest.mark.parametrize("key", ["kubeconfig", "context", "fleet"])
def test_aws_makes_its_own(key: str) -> None:
    given = {"fleet": {"a": {"instanceType": "p5.48xlarge"}}, "kubeconfig": "x", "context": "x"}
    loaded = load_role("cluster", ClusterSettings, {"aws": good(), key: given[key]})
    with pytest.raises(UserError, match=f"inferstack:cluster.{key}: the place aws makes its own"):
        loaded.check_place(Place.AWS, TODAY)


@pytest.mark.parametrize("place", [Place.LOCAL, Place.EXISTING])
def test_other_places_make_no_cluster(place: Place) -> None:
    load_role("cluster", ClusterSettings, None).check_place(place, TODAY)
    loaded = load_role("cluster", ClusterSettings, {"aws": good()})
    with pytest.raises(
        UserError, match=f"inferstack:cluster.aws: only the place aws makes a cluster, here it is {place}"
    ):
        loaded.check_place(place, TODAY)


def test_all_endpoints_are_made_by_default() -> None:
    assert load_role("cluster", ClusterSettings, None).aws.network.endpoints == typing.get_args(Endpoint)
