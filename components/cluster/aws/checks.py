"""Checks across settings of the place aws, before anything is registered. Each error names its full key path."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
from collections.abc import Iterator

from pydantic.alias_generators import to_camel

from components.cluster.aws.settings import AwsSettings, Capacity, GpuNodes
from components.settings import PROJECT
from inferstack.aws import catalogue
from inferstack.errors import UserError

KEY = f"{PROJECT}:cluster.aws"
UPSTREAMS = {
    "registry.k8s.io": False,
    "quay.io": False,
    "public.ecr.aws": False,
    "registry-1.docker.io": True,
    "ghcr.io": True,
    "registry.gitlab.com": True,
    "cgr.dev": True,
}
"""Registries that ECR can cache, and whether they need credentials. ECR user guide, "pull through cache"."""
_EKS_MINIMUM_ZONES = 2


def check_aws(settings: AwsSettings, today: datetime.date) -> None:
    """Check the settings that are independent of other roles.

    Args:
        settings: the stack's settings.
        today: date for the support period of the Kubernetes version.

    Raises:
        UserError: a setting is invalid; the message names the first invalid key.
    """
    for key in ("account_id", "region"):
        if getattr(settings, key) is None:
            raise UserError(f"{KEY}.{to_camel(key)}: is required with inferstack:place aws.")
    _check_network(settings)
    _check_access(settings)
    _check_release(settings, today)
    _check_registries(settings)
    _check_system(settings)
    for name, group in settings.gpu.items():
        _check_group(f"{KEY}.gpu.{name}", group, settings)


def _check_network(settings: AwsSettings) -> None:
    network = settings.network
    key = f"{KEY}.network"
    zones = [zone.name for zone in network.zones]
    if len(zones) < _EKS_MINIMUM_ZONES:
        raise UserError(
            f"{key}.zones: EKS needs {_EKS_MINIMUM_ZONES} zones or more, got {len(zones)}; three are usual."
        )
    for index, name in enumerate(zones):
        if name[:-1] != settings.region:
            raise UserError(f'{key}.zones[{index}].name: "{name}" is not in the region {settings.region}.')
        if name in zones[:index]:
            raise UserError(f'{key}.zones[{index}].name: "{name}" is a duplicate.')
    vpc = ipaddress.IPv4Network(network.cidr)
    # AWS accepts /16 to /28; a network smaller than /20 has no room for the pods of three zones.
    if not 16 <= vpc.prefixlen <= 20:
        raise UserError(f"{key}.cidr: {vpc} is not a /16 to /20, the range with enough pod addresses in a VPC.")
    subnets = list(_subnets(settings))
    for path, subnet in subnets:
        if not subnet.subnet_of(vpc):
            raise UserError(f"{path}: {subnet} lies outside the VPC's {vpc} ({key}.cidr).")
        if subnet.prefixlen > 28:  # AWS: /28 is the smallest subnet
            raise UserError(f"{path}: {subnet} is smaller than a /28, the smallest subnet of a VPC.")
    for (path, subnet), (other_path, other_subnet) in itertools.combinations(subnets, 2):
        if subnet.overlaps(other_subnet):
            raise UserError(f"{other_path}: {other_subnet} overlaps {subnet} ({path}).")
    services = ipaddress.IPv4Network(settings.service_cidr)
    if services.overlaps(vpc):
        raise UserError(f"{KEY}.serviceCidr: {services} overlaps the VPC's {vpc} ({key}.cidr).")
    if not 12 <= services.prefixlen <= 24:  # EKS API, serviceIpv4Cidr
        raise UserError(f"{KEY}.serviceCidr: {services} is not a /12 to /24, as EKS requires.")


def _subnets(settings: AwsSettings) -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    for index, zone in enumerate(settings.network.zones):
        for kind in ("nodes", "public"):
            yield f"{KEY}.network.zones[{index}].{kind}", ipaddress.IPv4Network(getattr(zone, kind))


def _check_access(settings: AwsSettings) -> None:
    if not any(
        entry.policy == "AmazonEKSClusterAdminPolicy" and not entry.namespaces for entry in settings.access.values()
    ):
        raise UserError(
            f"{KEY}.access: nobody has AmazonEKSClusterAdminPolicy in the whole cluster, so nobody, Pulumi included, "
            "could make an object in it; name the role that runs Pulumi."
        )
    principals: dict[str, str] = {}
    for name, entry in settings.access.items():
        if entry.principal in principals:
            raise UserError(
                f"{KEY}.access.{name}.principal: {entry.principal} has the entry {principals[entry.principal]} already."
            )
        principals[entry.principal] = name


def _check_release(settings: AwsSettings, today: datetime.date) -> None:
    releases = catalogue.load().releases
    key, version = f"{KEY}.kubernetesVersion", settings.kubernetes_version
    supported = [name for name, release in releases.items() if _end(settings, release) >= today]
    if version not in releases:
        raise UserError(
            f'{key}: "{version}" is no release of EKS that is known here; use one of {", ".join(supported)}.'
        )
    end = _end(settings, releases[version])
    if end < today:
        longer = f" ({KEY}.support: EXTENDED keeps it to {releases[version].extended}, at six times the price)"
        hint = longer if settings.support == "STANDARD" and releases[version].extended >= today else ""
        raise UserError(f"{key}: EKS has supported {version} until {end}{hint}; use one of {', '.join(supported)}.")


def _end(settings: AwsSettings, release: catalogue.Release) -> datetime.date:
    return release.standard if settings.support == "STANDARD" else release.extended


def _check_registries(settings: AwsSettings) -> None:
    for name, upstream in settings.registries.items():
        key = f"{KEY}.registries.{name}"
        if upstream.registry not in UPSTREAMS and not upstream.registry.endswith(".azurecr.io"):
            raise UserError(
                f"{key}.registry: ECR cannot cache {upstream.registry}; it supports {', '.join(UPSTREAMS)}."
            )
        if UPSTREAMS.get(upstream.registry, True) and upstream.credential is None:
            raise UserError(
                f"{key}.credential: ECR requires credentials for {upstream.registry}; set the ARN of their secret."
            )


def _check_system(settings: AwsSettings) -> None:
    system, key = settings.system, f"{KEY}.system"
    if system.min_nodes > system.max_nodes:
        raise UserError(f"{key}.minNodes: {system.min_nodes} is more than maxNodes, {system.max_nodes}.")
    for index, name in enumerate(system.instance_types):
        if machine(f"{key}.instanceTypes[{index}]", name).gpu is not None:
            raise UserError(f"{key}.instanceTypes[{index}]: {name} has GPUs; move it to a group of {KEY}.gpu.")


def _check_group(key: str, group: GpuNodes, settings: AwsSettings) -> None:
    if not group.min_nodes <= group.desired_nodes <= group.max_nodes or group.max_nodes == 0:
        raise UserError(
            f"{key}.desiredNodes: {group.desired_nodes} is not between minNodes {group.min_nodes} and "
            f"maxNodes {group.max_nodes}, which is 1 or more."
        )
    types = [machine(f"{key}.instanceTypes[{index}]", name) for index, name in enumerate(group.instance_types)]
    first = types[0]
    for index, candidate in enumerate(types):
        path = f"{key}.instanceTypes[{index}]"
        if candidate.gpu is None:
            raise UserError(f"{path}: {candidate.name} has no GPU; move it to {KEY}.system.")
        if (candidate.gpu, candidate.gpus) != (first.gpu, first.gpus):
            raise UserError(
                f"{path}: {candidate.name} has {candidate.gpus} {candidate.gpu}, "
                f"{first.name} has {first.gpus} {first.gpu}; "
                "the nodes of a group must be alike."
            )
        if group.efa and candidate.efa == 0:
            able = ", ".join(row.name for row in catalogue.load().instance_types.values() if row.efa)
            raise UserError(f"{key}.efa: {candidate.name} has no EFA; types that have it: {able}.")
        if group.efa and (candidate.efa, candidate.network_cards) != (first.efa, first.network_cards):
            raise UserError(f"{path}: {candidate.name} and {first.name} have different numbers of EFA interfaces.")
        if group.local_store and not candidate.disks:
            raise UserError(f"{key}.localStore: {candidate.name} has no NVMe disks; set it to false.")
    _check_place(key, group, settings)
    _check_capacity(key, group, types)


def _check_place(key: str, group: GpuNodes, settings: AwsSettings) -> None:
    zones = [zone.name for zone in settings.network.zones]
    for index, zone in enumerate(group.zone_names):
        if zone not in zones:
            raise UserError(f'{key}.zoneNames[{index}]: "{zone}" is not a zone of the VPC; it has {", ".join(zones)}.')
    number = len(group.zone_names or zones)
    for required, name in (
        (group.placement_group, "placementGroup"),
        (group.efa, "efa"),
        (group.reservation, "reservation"),
    ):
        if required and number != 1:
            raise UserError(
                f"{key}.zoneNames: {name} works within one zone, got {number}; set the zone that has the capacity."
            )


def _check_capacity(key: str, group: GpuNodes, types: list[catalogue.InstanceType]) -> None:
    capacity = f"{key}.capacity"
    if group.capacity is Capacity.SPOT and group.reservation is not None:
        raise UserError(
            f"{key}.reservation: spot nodes are never taken from a reservation; use ON_DEMAND or remove the key."
        )
    if group.reservation is not None and len(types) > 1:
        raise UserError(f"{key}.instanceTypes: a reservation has one type, got {len(types)}.")
    if group.capacity is Capacity.CAPACITY_BLOCK:
        if group.reservation is None:
            raise UserError(
                f"{key}.reservation: is required with capacity CAPACITY_BLOCK: the Capacity Block's id (cr-...)."
            )
        for instance_type in types:
            if not instance_type.capacity_blocks:
                raise UserError(
                    f"{capacity}: Capacity Blocks are not available for {instance_type.name}; use ON_DEMAND or SPOT."
                )


def machine(key: str, name: str) -> catalogue.InstanceType:
    """Return an instance type.

    Raises:
        UserError: the type is unknown; the message names ``key``.
    """
    try:
        return catalogue.instance_type(name)
    except UserError as error:
        raise UserError(f"{key}: {error}.") from None
