"""How policies cut the ports of a node; pure.

Follows sriov-network-operator v1.6.0: ``api/v1/helper.go`` for how policies meet, ``pkg/host/internal/sriov`` for what
the daemon makes of it, ``controllers/sriovnetworknodepolicy_controller.go`` for the resources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.network import nics, ranges
from rehearsal.hardware import Port

API_VERSION = "sriovnetwork.openshift.io/v1"
NAMESPACE = "sriov-network-operator"
_MTU = {"eth": 1500, "ib": 2044}
"""Of a port that nobody set up."""


def discover(ports: Sequence[Port]) -> list[Object]:
    """Return the ports as the daemon finds them before anything is cut."""
    return [_port(port, index) for index, port in enumerate(ports)]


def _port(port: Port, index: int) -> Object:
    known = next(iter(nics.find(port.vendor, port.device_id)), None)
    return {
        "pciAddress": f"0000:{0x10 + 4 * index:02x}:00.0",
        "name": port.name,
        "vendor": port.vendor,
        "deviceID": port.device_id,
        "driver": known.driver if known else "unknown",
        "linkType": port.link_type.upper(),
        "linkAdminState": "up",
        "linkSpeed": "100000 Mb/s",
        "mtu": _MTU[port.link_type],
        "eSwitchMode": "legacy",
        "totalvfs": port.max_vfs,
    }


def wanted(policies: Iterable[Mapping[str, Any]], labels: Mapping[str, str], found: Sequence[Object]) -> list[Object]:
    """Return ``spec.interfaces`` of a node's state.

    Policies are taken from the highest number to the lowest, which so has the last word; of equal ones by name. Where
    two leave each other's functions alone, both hold.

    Args:
        policies: all of the operator's namespace.
        labels: of the node.
        found: its ports.
    """
    ports: dict[str, Object] = {}
    last = None
    for policy in sorted(policies, key=lambda each: (-_priority(each), each["metadata"]["name"])):
        spec = policy["spec"]
        if any(labels.get(key) != value for key, value in spec["nodeSelector"].items()):
            continue
        for port in found:
            if spec["numVfs"] > 0 and _fits(spec["nicSelector"], port):
                made = _interface(policy, port)
                before = ports.get(port["pciAddress"])
                ports[port["pciAddress"]] = _merged(before, made, equal=last == _priority(policy)) if before else made
        last = _priority(policy)
    return [ports[port["pciAddress"]] for port in found if port["pciAddress"] in ports]


def _priority(policy: Mapping[str, Any]) -> int:
    return int(policy["spec"].get("priority", 0))


def _fits(selector: Mapping[str, Any], port: Object) -> bool:
    names = [text.partition("#")[0] for text in selector.get("pfNames") or ()]
    if not any(selector.get(key) for key in ("vendor", "deviceID", "pfNames", "rootDevices")):
        return False  # an empty selector, and one by OpenStack's network, means no port here
    return (
        selector.get("vendor") in (None, "", port["vendor"])
        and selector.get("deviceID") in (None, "", port["deviceID"])
        and (not selector.get("rootDevices") or port["pciAddress"] in selector["rootDevices"])
        and (not names or port["name"] in names)
    )


def _interface(policy: Mapping[str, Any], port: Object) -> Object:
    spec = policy["spec"]
    part = next((t for t in spec["nicSelector"].get("pfNames") or () if t.partition("#")[0] == port["name"]), None)
    group = {
        "policyName": policy["metadata"]["name"],
        "resourceName": spec["resourceName"],
        "deviceType": spec.get("deviceType", "netdevice"),
        "vfRange": part.partition("#")[2] if part and "#" in part else f"0-{spec['numVfs'] - 1}",
    }
    if spec.get("isRdma"):
        group["isRdma"] = True
    made = {"pciAddress": port["pciAddress"], "name": port["name"], "numVfs": spec["numVfs"], "vfGroups": [group]}
    for key in ("linkType", "eSwitchMode", "mtu"):
        if spec.get(key):
            made[key] = spec[key]
    if spec.get("mtu"):
        group["mtu"] = spec["mtu"]
    return made


def _merged(before: Object, made: Object, *, equal: bool) -> Object:
    (own,) = made["vfGroups"]
    kept = [
        group
        for group in before["vfGroups"]
        if group["resourceName"] != own["resourceName"] and not _overlap(group["vfRange"], own["vfRange"])
    ]
    merged = {**made, "vfGroups": [own, *kept]}
    if kept or equal:
        merged["numVfs"] = max(before["numVfs"], made["numVfs"])
        if mtu := max(before.get("mtu", 0), made.get("mtu", 0)):
            merged["mtu"] = mtu
    return merged


def _span(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last) + 1)


def _overlap(one: str, other: str) -> bool:
    mine, theirs = _span(one), _span(other)
    return ranges.Range("", mine.start, mine.stop - 1).overlaps(ranges.Range("", theirs.start, theirs.stop - 1))


def shortage(found: Sequence[Object], asked: Sequence[Object]) -> str | None:
    """Return what the daemon says of a port that holds fewer functions than it is asked for."""
    held = {port["pciAddress"]: port.get("totalvfs", 0) for port in found}
    for port in asked:
        if port["numVfs"] > held[port["pciAddress"]]:
            return (
                f"cannot config SRIOV device: NumVfs ({port['numVfs']}) is larger than TotalVfs "
                f"({held[port['pciAddress']]})"
            )
    return None


def configured(found: Sequence[Object], asked: Sequence[Object]) -> list[Object]:
    """Return ``status.interfaces`` once the daemon has done what is asked; ``found`` is as `discover` returns it."""
    by_address = {port["pciAddress"]: port for port in asked}
    return [_configured(port, by_address.get(port["pciAddress"])) for port in found]


def _configured(port: Object, asked: Object | None) -> Object:
    if asked is None:
        return port
    made = {
        **port,
        "numVfs": asked["numVfs"],
        "mtu": max(port["mtu"], asked.get("mtu", 0)),
        "linkType": str(asked.get("linkType", port["linkType"])).upper(),
        "eSwitchMode": asked.get("eSwitchMode", port["eSwitchMode"]),
    }
    known = next(iter(nics.find(port["vendor"], port["deviceID"])), None)
    made["Vfs"] = [
        {
            "vfID": number,
            "pciAddress": _function(port["pciAddress"], number),
            "vendor": port["vendor"],
            "deviceID": known.vf_device if known else port["deviceID"],
            "driver": _driver(group, known),
            "mtu": group.get("mtu", made["mtu"]) if group else made["mtu"],
        }
        for number in range(asked["numVfs"])
        for group in [next((g for g in asked["vfGroups"] if number in _span(g["vfRange"])), None)]
    ]
    return made


def _driver(group: Object | None, known: nics.Nic | None) -> str:
    if group and group["deviceType"] == "vfio-pci":
        return "vfio-pci"
    return known.vf_driver if known else "unknown"


def _function(port: str, number: int) -> str:
    """Return the PCI address of a function: they follow the port's own device, 8 to a device."""
    domain, bus, _ = port.split(":")
    place = 8 + number
    return f"{domain}:{int(bus, 16) + (place >> 8):02x}:{(place >> 3) & 31:02x}.{place & 7}"


def resources(prefix: str, found: Sequence[Object], asked: Sequence[Object]) -> dict[str, int]:
    """Return what the device plugin offers of ports that are set up, by full resource name."""
    by_address = {port["pciAddress"]: port for port in found}
    offered: Counter[str] = Counter()
    for port in asked:
        actual = by_address[port["pciAddress"]]
        able = nics.find(actual["vendor"], actual["deviceID"])
        for group in port["vfGroups"]:
            if group.get("isRdma") and able and not able[0].rdma:
                continue  # the plugin finds no RDMA device beside these functions
            offered[f"{prefix}/{group['resourceName']}"] += len(
                [number for number in _span(group["vfRange"]) if number < actual.get("numVfs", 0)]
            )
    return {name: count for name, count in sorted(offered.items()) if count}
