"""Checks of the mesh as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.checks.fleet import charts
from inferstack.policy.resource import Resource, Stack, get


def encrypts_once(stack: Stack, _: Mapping[str, Any]) -> Iterator[tuple[Resource | None, str]]:
    """Yield a CNI that encrypts what the mesh encrypts already, unless the stack says why."""
    if get(stack.settings, "security", "encryption", "allowDouble", "reason"):
        return
    modes = [get(one.properties, "spec", "mtls", "mode") for one in stack.of_kind("PeerAuthentication")]
    if "STRICT" not in modes:
        return
    for cilium in charts(stack, "cilium"):
        encryption = get(cilium.properties, "values", "encryption", default={})
        if get(encryption, "enabled") is True:
            yield (
                cilium,
                f"it encrypts with {get(encryption, 'type', default='ipsec')} what mutual TLS encrypts already",
            )
