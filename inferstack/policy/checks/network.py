"""Checks of network devices against the nodes of the stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.aws import catalogue
from inferstack.policy.checks.fleet import EFA_RESOURCE, asked, machines
from inferstack.policy.resource import Resource, Stack


def efa_fits_instance(stack: Stack, _: Mapping[str, Any]) -> Iterator[tuple[Resource | None, str]]:
    """Yield what asks for more EFA interfaces than one machine of the stack, or of any that is known, has."""
    there = [machine.efa for machine in machines(stack)] or [
        one.efa for one in catalogue.load().instance_types.values()
    ]
    for resource, limits in asked(stack):
        count = int(limits.get(EFA_RESOURCE, 0))
        if count > max(there):
            yield resource, f"it asks for {count} EFA interfaces, and no machine has more than {max(there)}"
