"""Checks of the service mesh as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.checks.fleet import charts
from inferstack.policy.resource import Resource, Stack, get


def encrypts_once(stack: Stack, _: Mapping[str, Any]) -> Iterator[tuple[Resource | None, str]]:
    """Check that the CNI does not encrypt traffic of a strict mesh, unless the stack gives a reason."""
    if get(stack.settings, "security", "encryption", "allowDouble", "reason"):
        return
    modes = [get(policy.properties, "spec", "mtls", "mode") for policy in stack.of_kind("PeerAuthentication")]
    if "STRICT" not in modes:
        return
    for cilium in charts(stack, "cilium"):
        encryption = get(cilium.properties, "values", "encryption", default={})
        if get(encryption, "enabled") is True:
            yield (
                cilium,
                f"{get(encryption, 'type', default='ipsec')} encrypts traffic that mutual TLS already encrypts",
            )
