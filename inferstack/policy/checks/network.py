"""Checks of network devices against the nodes of the stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.aws import catalogue
from inferstack.policy.checks.fleet import EFA_RESOURCE, machines, requests
from inferstack.policy.resource import Resource, Stack


def efa_fits_instance(stack: Stack, _: Mapping[str, Any]) -> Iterator[tuple[Resource | None, str]]:
    """Check that pods request no more EFA interfaces than a machine of the stack, or of any known type, has."""
    capacities = [machine.efa for machine in machines(stack)] or [
        known.efa for known in catalogue.load().instance_types.values()
    ]
    for resource, limits in requests(stack):
        count = int(limits.get(EFA_RESOURCE, 0))
        if count > max(capacities):
            yield resource, f"requests {count} EFA interfaces; machines have at most {max(capacities)}"
