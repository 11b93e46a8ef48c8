"""What a stack takes of the account's quotas, in the words of ``inferstack.aws.quotas``."""

from __future__ import annotations

from collections.abc import Iterator

from components.cluster.aws.settings import AwsSettings, Capacity, Nat
from inferstack.aws.quotas import Group


def quota_groups(settings: AwsSettings) -> Iterator[Group]:
    """Yield all groups of nodes, each at its largest."""
    system = settings.system
    yield Group("system", system.instance_types, Capacity.ON_DEMAND.value, system.max_nodes)
    for name, nodes in settings.gpu.items():
        yield Group(name, nodes.instance_types, nodes.capacity.value, nodes.max_nodes)


def nat_gateways(settings: AwsSettings) -> int:
    """Return how many NAT gateways there are."""
    return 1 if settings.network.nat is Nat.SINGLE else len(settings.network.zones)
