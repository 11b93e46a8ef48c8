"""The NICs that the project knows, read once from ``nics.yaml``; the file's head explains each field."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

AMAZON = "1d0f"
"""Vendor of Amazon's network interfaces, which the SR-IOV network operator does not configure."""
MIN_ETHERNET_MTU = 68
"""RFC 791: what every IPv4 link carries at least."""
MAX_INFINIBAND_MTU = 4092
"""Linux, documentation of IPoIB: in datagram mode the largest InfiniBand MTU, 4096 bytes, less a header of 4."""


@dataclass(frozen=True)
class Nic:
    """One model; a model is one pair of vendor and device."""

    name: str
    vendor: str
    device: str
    vf_device: str
    driver: str
    vf_driver: str
    max_vfs: int
    """Of one physical function."""
    max_mtu: int
    """Bytes, of an Ethernet port."""
    rdma: bool
    links: tuple[str, ...]
    """Out of eth and ib."""
    sources: tuple[str, ...]
    confirmed: bool
    """False where a limit was written from memory and not seen in the source."""


@functools.cache
def load() -> Mapping[str, Nic]:
    """Return all models by name."""
    text = (importlib.resources.files("inferstack.network") / "nics.yaml").read_text()
    content = yaml.safe_load(text)
    return {name: _nic(name, entry, content["sources"]) for name, entry in content["nics"].items()}


def find(vendor: str | None, device: str | None) -> tuple[Nic, ...]:
    """Return the models with these ids; None stands for any."""
    return tuple(nic for nic in load().values() if vendor in (None, nic.vendor) and device in (None, nic.device))


def _nic(name: str, entry: Mapping[str, Any], sources: Mapping[str, str]) -> Nic:
    # Our own file: a test holds that each row is whole.
    assert set(entry["sources"]) <= sources.keys(), name  # noqa: S101
    return Nic(
        name=name,
        vendor=entry["vendor"],
        device=entry["device"],
        vf_device=entry["vfDevice"],
        driver=entry["driver"],
        vf_driver=entry["vfDriver"],
        max_vfs=entry["maxVfs"],
        max_mtu=entry["maxMtu"],
        rdma=entry["rdma"],
        links=tuple(entry["links"]),
        sources=tuple(entry["sources"]),
        confirmed=entry["confirmed"],
    )
