"""Limits of the NICs that a policy's selector can match."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from components.network.settings import ExtraNic, NicSelector
from inferstack.network import nics

_ALL_LINKS = ("eth", "ib")


@dataclass(frozen=True)
class Limits:
    """The widest limits of all matching NICs: a value beyond them is invalid for each of these NICs."""

    name: str
    vfs: int
    ethernet_mtu: int
    rdma: bool
    links: tuple[str, ...]

    def mtu(self, link: str | None) -> tuple[int, int]:
        """Return the smallest and largest MTU in bytes of a link type; None: of both types."""
        ib = nics.MAX_INFINIBAND_MTU if "ib" in self.links else 0
        highest = {"eth": self.ethernet_mtu, "ib": ib, None: max(ib, self.ethernet_mtu)}[link]
        return nics.MIN_ETHERNET_MTU, highest


def limits_of(selector: NicSelector, extra: Mapping[str, ExtraNic]) -> Limits:
    """Return the limits of the NICs that a selector can match; port names alone can match any NIC."""
    matches = nics.find(selector.vendor, selector.device_id)
    added = [
        nic
        for nic in extra.values()
        if selector.vendor in (None, nic.vendor) and selector.device_id in (None, nic.device)
    ]
    rows = [(nic.max_vfs, nic.max_mtu, nic.rdma, nic.links) for nic in matches]
    rows += [(nic.max_vfs, nic.max_mtu, nic.rdma, _ALL_LINKS) for nic in added]
    if not rows:
        # `check_nic` rejects unknown NICs.
        return Limits("an unknown NIC", 256, 65535, True, _ALL_LINKS)
    names = [nic.name for nic in matches] + [name for name, nic in extra.items() if nic in added]
    return Limits(
        name=f"the {names[0]}" if len(names) == 1 else "any such NIC",
        vfs=max(row[0] for row in rows),
        ethernet_mtu=max(row[1] for row in rows),
        rdma=any(row[2] for row in rows),
        links=tuple(link for link in _ALL_LINKS if any(link in row[3] for row in rows)),
    )


def check_nic(key: str, selector: NicSelector, extra: Mapping[str, ExtraNic]) -> Iterator[str]:
    """Yield the errors of a selector; ``key`` is its path."""
    if not (selector.vendor or selector.device_id or selector.pf_names or selector.root_devices):
        yield f"{key}: needs at least one of vendor, deviceID, pfNames and rootDevices; empty, it fits no port."
        return
    if selector.vendor == nics.AMAZON:
        yield (
            f"{key}.vendor: {nics.AMAZON} is Amazon, whose NICs the SR-IOV operator does not cut; "
            "use inferstack:network.efa."
        )
        return
    if not (selector.vendor or selector.device_id):
        return
    ids = [(nic.vendor, nic.device) for nic in nics.load().values()]
    ids += [(nic.vendor, nic.device) for nic in extra.values()]
    if not any(selector.vendor in (None, vendor) and selector.device_id in (None, device) for vendor, device in ids):
        part = "deviceID" if selector.device_id else "vendor"
        shown = f"{selector.vendor or '*'}:{selector.device_id or '*'}"
        yield (
            f"{key}.{part}: nothing is known of NIC {shown}; name it with its limits under "
            "inferstack:network.sriov.extraNics if it is meant."
        )
