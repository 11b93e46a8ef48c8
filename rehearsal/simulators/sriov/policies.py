"""Computes the virtual functions of a node from the policies; pure.

Follows sriov-network-operator v1.6.0: ``api/v1/helper.go`` for merging policies, ``pkg/host/internal/sriov`` for
the daemon, ``controllers/sriovnetworknodepolicy_controller.go`` for the resources.
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
"""MTU of an unconfigured port."""


def discover(ports: Sequence[Port]) -> list[Object]:
    """Return the ports as the daemon discovers them, without virtual functions."""
    return [_port(port, index) for index, port in enumerate(ports)]


def _port(port: Port, index: int) -> Object:
    nic = next(iter(nics.find(port.vendor, port.device_id)), None)
    return {
        "pciAddress": f"0000:{0x10 + 4 * index:02x}:00.0",
        "name": port.name,
        "vendor": port.vendor,
        "deviceID": port.device_id,
        "driver": nic.driver if nic else "unknown",
        "linkType": port.link_type.upper(),
        "linkAdminState": "up",
        "linkSpeed": "100000 Mb/s",
        "mtu": _MTU[port.link_type],
        "eSwitchMode": "legacy",
        "totalvfs": port.max_vfs,
    }


def desired_interfaces(
    policies: Iterable[Mapping[str, Any]], labels: Mapping[str, str], discovered: Sequence[Object]
) -> list[Object]:
    """Return ``spec.interfaces`` of a node's state.

    Policies apply in order of descending priority number and name, so that the lowest number wins. Policies whose
    functions do not overlap all apply.

    Args:
        policies: all policies of the operator's namespace.
        labels: labels of the node.
        discovered: discovered ports of the node.
    """
    ports: dict[str, Object] = {}
    last = None
    for policy in sorted(policies, key=lambda each: (-_priority(each), each["metadata"]["name"])):
        spec = policy["spec"]
        if any(labels.get(key) != value for key, value in spec["nodeSelector"].items()):
            continue
        for port in discovered:
            if spec["numVfs"] > 0 and _nic_matches(spec["nicSelector"], port):
                interface = _interface(policy, port)
                before = ports.get(port["pciAddress"])
                ports[port["pciAddress"]] = (
                    _merged(before, interface, equal=last == _priority(policy)) if before else interface
                )
        last = _priority(policy)
    return [ports[port["pciAddress"]] for port in discovered if port["pciAddress"] in ports]


def _priority(policy: Mapping[str, Any]) -> int:
    return int(policy["spec"].get("priority", 0))


def _nic_matches(selector: Mapping[str, Any], port: Object) -> bool:
    names = [text.partition("#")[0] for text in selector.get("pfNames") or ()]
    if not any(selector.get(key) for key in ("vendor", "deviceID", "pfNames", "rootDevices")):
        return False  # an empty selector, or one by OpenStack network, matches no port
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
    interface = {"pciAddress": port["pciAddress"], "name": port["name"], "numVfs": spec["numVfs"], "vfGroups": [group]}
    for key in ("linkType", "eSwitchMode", "mtu"):
        if spec.get(key):
            interface[key] = spec[key]
    if spec.get("mtu"):
        group["mtu"] = spec["mtu"]
    return interface


def _merged(before: Object, interface: Object, *, equal: bool) -> Object:
    (own,) = interface["vfGroups"]
    kept = [
        group
        for group in before["vfGroups"]
        if group["resourceName"] != own["resourceName"] and not _overlap(group["vfRange"], own["vfRange"])
    ]
    merged = {**interface, "vfGroups": [own, *kept]}
    if kept or equal:
        merged["numVfs"] = max(before["numVfs"], interface["numVfs"])
        if mtu := max(before.get("mtu", 0), interface.get("mtu", 0)):
            merged["mtu"] = mtu
    return merged


def _span(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last) + 1)


def _overlap(first: str, second: str) -> bool:
    a, b = _span(first), _span(second)
    return ranges.Range("", a.start, a.stop - 1).overlaps(ranges.Range("", b.start, b.stop - 1))


def shortage(discovered: Sequence[Object], asked: Sequence[Object]) -> str | None:
    """Return the daemon's error if a port supports fewer functions than requested."""
    held = {port["pciAddress"]: port.get("totalvfs", 0) for port in discovered}
    for port in asked:
        if port["numVfs"] > held[port["pciAddress"]]:
            return (
                f"cannot config SRIOV device: NumVfs ({port['numVfs']}) is larger than TotalVfs "
                f"({held[port['pciAddress']]})"
            )
    return None


def configured(discovered: Sequence[Object], asked: Sequence[Object]) -> list[Object]:
    """Return ``status.interfaces`` after configuration; ``discovered`` is the result of `discover`."""
    by_address = {port["pciAddress"]: port for port in asked}
    return [_configured(port, by_address.get(port["pciAddress"])) for port in discovered]


def _configured(port: Object, asked: Object | None) -> Object:
    if asked is None:
        return port
    state = {
        **port,
        "numVfs": asked["numVfs"],
        "mtu": max(port["mtu"], asked.get("mtu", 0)),
        "linkType": str(asked.get("linkType", port["linkType"])).upper(),
        "eSwitchMode": asked.get("eSwitchMode", port["eSwitchMode"]),
    }
    nic = next(iter(nics.find(port["vendor"], port["deviceID"])), None)
    state["Vfs"] = [
        {
            "vfID": number,
            "pciAddress": _function(port["pciAddress"], number),
            "vendor": port["vendor"],
            "deviceID": nic.vf_device if nic else port["deviceID"],
            "driver": _driver(group, nic),
            "mtu": group.get("mtu", state["mtu"]) if group else state["mtu"],
        }
        for number in range(asked["numVfs"])
        for group in [next((g for g in asked["vfGroups"] if number in _span(g["vfRange"])), None)]
    ]
    return state


def _driver(group: Object | None, nic: nics.Nic | None) -> str:
    if group and group["deviceType"] == "vfio-pci":
        return "vfio-pci"
    return nic.vf_driver if nic else "unknown"


def _function(port: str, number: int) -> str:
    """Return the PCI address of a virtual function; functions follow the port's device, 8 per device."""
    domain, bus, _ = port.split(":")
    offset = 8 + number
    return f"{domain}:{int(bus, 16) + (offset >> 8):02x}:{(offset >> 3) & 31:02x}.{offset & 7}"


def resources(prefix: str, discovered: Sequence[Object], asked: Sequence[Object]) -> dict[str, int]:
    """Return the resources that the device plugin advertises for configured ports, by full resource name."""
    by_address = {port["pciAddress"]: port for port in discovered}
    advertised: Counter[str] = Counter()
    for port in asked:
        actual = by_address[port["pciAddress"]]
        models = nics.find(actual["vendor"], actual["deviceID"])
        for group in port["vfGroups"]:
            if group.get("isRdma") and models and not models[0].rdma:
                continue  # these functions have no RDMA device
            advertised[f"{prefix}/{group['resourceName']}"] += len(
                [number for number in _span(group["vfRange"]) if number < actual.get("numVfs", 0)]
            )
    return {name: count for name, count in sorted(advertised.items()) if count}
