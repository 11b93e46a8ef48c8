"""The supported NIC models of ``nics.yaml``, whose header explains each field."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferstack.apimachinery import yamltext

AMAZON = "1d0f"
"""PCI vendor ID of Amazon's network interfaces, which the SR-IOV network operator does not configure."""
MIN_ETHERNET_MTU = 68
"""Minimum MTU of an IPv4 link (RFC 791)."""
MAX_INFINIBAND_MTU = 4092
"""IPoIB in datagram mode (Linux documentation): the largest InfiniBand MTU, 4096 bytes, minus a 4-byte header."""


@dataclass(frozen=True)
class Nic:
    """One NIC model, identified by PCI vendor and device ID."""

    name: str
    vendor: str
    device: str
    vf_device: str
    driver: str
    vf_driver: str
    max_vfs: int
    """Maximum virtual functions per physical function."""
    max_mtu: int
    """Bytes, of an Ethernet port."""
    rdma: bool
    links: tuple[str, ...]
    """Supported link types: eth, ib."""
    sources: tuple[str, ...]
    confirmed: bool
    """Whether the limits were verified against the source."""


@functools.cache
def load() -> Mapping[str, Nic]:
    """Return all models by name."""
    text = (importlib.resources.files("inferstack.network") / "nics.yaml").read_text()
    content = yamltext.parse(text)
    return {name: _nic(name, entry, content["sources"]) for name, entry in content["nics"].items()}


def find(vendor: str | None, device: str | None) -> tuple[Nic, ...]:
    """Return the models with these PCI IDs; None matches any."""
    return tuple(nic for nic in load().values() if vendor in (None, nic.vendor) and device in (None, nic.device))


def _nic(name: str, entry: Mapping[str, Any], sources: Mapping[str, str]) -> Nic:
    # A test checks that every row of this file is complete.
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
