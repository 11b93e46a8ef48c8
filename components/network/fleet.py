"""The simulated nodes as input of the network role's checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from components.network.settings import NicSelector
from inferstack.apimachinery.labels import HARDWARE


@dataclass(frozen=True)
class Port:
    """One physical function."""

    vendor: str
    device: str
    name: str
    max_vfs: int

    def fits(self, selector: NicSelector) -> bool:
        """Return whether a selector matches this port; PCI addresses are not known beforehand and always match."""
        names = [text.partition("#")[0] for text in selector.pf_names]
        return (
            selector.vendor in (None, self.vendor)
            and selector.device_id in (None, self.device)
            and (not names or self.name in names)
        )


@dataclass(frozen=True)
class Machine:
    """One node: its initial labels and its ports."""

    name: str
    labels: Mapping[str, str]
    ports: tuple[Port, ...]


def machines_of(nodes: Iterable[Mapping[str, Any]]) -> list[Machine]:
    """Return the machines described by the rehearsal's Node objects."""
    return [Machine(node["metadata"]["name"], node["metadata"]["labels"], tuple(_ports(node))) for node in nodes]


def _ports(node: Mapping[str, Any]) -> list[Port]:
    hardware = json.loads(node["metadata"]["annotations"][HARDWARE])
    return [
        Port(nic["vendor"], nic["deviceID"], name, nic["maxVfs"])
        for nic in hardware["nics"]
        if "vendor" in nic
        for name in nic["pfNames"]
    ]
