"""How policies cut ports: tables, and properties that hold for any policies."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inferstack.apimachinery.objects import Object
from rehearsal.hardware import Port
from rehearsal.simulators.sriov.policies import configured, desired_interfaces, discover, resources, shortage

PORTS = (Port("15b3", "101d", "ens1f0", 16, "eth"), Port("8086", "1592", "ens2f0", 64, "eth"))
FOUND = discover(PORTS)
LABELS = {"fabric": "rdma"}


def policy(name: str, **spec: Any) -> Object:
    defaults = {
        "resourceName": name,
        "nodeSelector": LABELS,
        "nicSelector": {"pfNames": ["ens1f0"]},
        "numVfs": 8,
        "priority": 99,
        "deviceType": "netdevice",
    }
    return {"metadata": {"name": name}, "spec": {**defaults, **spec}}


def groups(*policies: Object) -> list[tuple[str, str]]:
    (port,) = desired_interfaces(policies, LABELS, FOUND)
    return [(group["policyName"], group["vfRange"]) for group in port["vfGroups"]]


def test_discovered_ports_have_no_functions_and_unique_addresses() -> None:
    assert [port["name"] for port in FOUND] == ["ens1f0", "ens2f0"]
    assert [port["driver"] for port in FOUND] == ["mlx5_core", "ice"]
    assert len({port["pciAddress"] for port in FOUND}) == 2
    assert [port.get("numVfs") for port in FOUND] == [None, None]


def test_policy_applies_to_selected_ports() -> None:
    def taken(**spec: Any) -> list[str]:
        return [port["name"] for port in desired_interfaces([policy("p", **spec)], LABELS, FOUND)]

    assert taken() == ["ens1f0"]
    assert taken(nicSelector={"vendor": "8086"}) == ["ens2f0"]
    assert taken(nicSelector={"vendor": "15b3", "deviceID": "1592"}) == []
    assert taken(nicSelector={"rootDevices": [FOUND[1]["pciAddress"]]}) == ["ens2f0"]
    assert taken(nicSelector={"pfNames": ["ens1f0#0-3", "ens2f0"]}) == ["ens1f0", "ens2f0"]
    assert taken(nicSelector={}) == []
    assert taken(nodeSelector={"fabric": "other"}) == []
    assert taken(nodeSelector={}) == ["ens1f0"]
    assert taken(numVfs=0) == []


def test_lower_priority_number_wins_port() -> None:
    assert groups(policy("a", priority=10), policy("b", priority=5)) == [("b", "0-7")]
    assert groups(policy("a", priority=5), policy("b", priority=10)) == [("a", "0-7")]
    # Of equal ones the last by name.
    assert groups(policy("b"), policy("a")) == [("b", "0-7")]


def test_policies_with_disjoint_function_ranges_share_port() -> None:
    lower = policy("lower", nicSelector={"pfNames": ["ens1f0#0-3"]}, priority=10, mtu=9000)
    upper = policy("upper", nicSelector={"pfNames": ["ens1f0#4-7"]}, priority=5, mtu=1500)
    (port,) = desired_interfaces([lower, upper], LABELS, FOUND)
    assert [(group["policyName"], group["vfRange"]) for group in port["vfGroups"]] == [
        ("upper", "4-7"),
        ("lower", "0-3"),
    ]
    assert (port["numVfs"], port["mtu"]) == (8, 9000)


def test_daemon_status_follows_policy() -> None:
    asked = desired_interfaces([policy("p", numVfs=2, mtu=9000, deviceType="vfio-pci", linkType="eth")], LABELS, FOUND)
    cut, whole = configured(FOUND, asked)
    assert whole == FOUND[1]
    assert (cut["numVfs"], cut["mtu"], cut["linkType"], cut["eSwitchMode"]) == (2, 9000, "ETH", "legacy")
    assert cut["Vfs"] == [
        {"vfID": number, "pciAddress": address, "vendor": "15b3", "deviceID": "101e", "driver": "vfio-pci", "mtu": 9000}
        for number, address in ((0, "0000:10:01.0"), (1, "0000:10:01.1"))
    ]


def test_unassigned_functions_keep_kernel_driver() -> None:
    asked = desired_interfaces(
        [policy("p", nicSelector={"pfNames": ["ens1f0#0-0"]}, deviceType="vfio-pci", numVfs=2)], LABELS, FOUND
    )
    assert [function["driver"] for function in configured(FOUND, asked)[0]["Vfs"]] == ["vfio-pci", "mlx5_core"]


def test_shortage_message_matches_daemon() -> None:
    assert shortage(FOUND, desired_interfaces([policy("p", numVfs=16)], LABELS, FOUND)) is None
    assert shortage(FOUND, desired_interfaces([policy("p", numVfs=17)], LABELS, FOUND)) == (
        "cannot config SRIOV device: NumVfs (17) is larger than TotalVfs (16)"
    )


def test_resources_require_existing_capable_functions() -> None:
    asked = desired_interfaces([policy("p", isRdma=True, nicSelector={"vendor": "15b3"})], LABELS, FOUND)
    assert resources("a.b", FOUND, asked) == {}
    assert resources("a.b", configured(FOUND, asked), asked) == {"a.b/p": 8}
    plain = discover([Port("8086", "1572", "ens1f0", 16, "eth")])
    asked = desired_interfaces([policy("p", isRdma=True)], LABELS, plain)
    assert resources("a.b", configured(plain, asked), asked) == {}


NAMES = st.sampled_from(["p", "q", "r", "s"])
SELECTORS = st.one_of(
    st.sampled_from([{"vendor": "15b3"}, {"vendor": "8086"}, {"deviceID": "1592"}, {}]),
    st.tuples(st.sampled_from(["ens1f0", "ens2f0"]), st.integers(0, 15), st.integers(0, 15)).map(
        lambda given: {"pfNames": [f"{given[0]}#{min(given[1:])}-{max(given[1:])}"]}
    ),
)
POLICIES = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {
            "resourceName": st.sampled_from(["x", "y"]),
            "numVfs": st.integers(0, 16),
            "priority": st.integers(0, 2),
            "nicSelector": SELECTORS,
            "isRdma": st.booleans(),
        }
    ),
).map(lambda specs: [policy(name, **spec) for name, spec in specs.items()])


@given(POLICIES)
def test_no_node_offers_more_functions_than_its_ports_hold(policies: list[Object]) -> None:
    asked = desired_interfaces(policies, LABELS, FOUND)
    assert shortage(FOUND, asked) is None
    interfaces = configured(FOUND, asked)
    for port, before in zip(interfaces, FOUND, strict=True):
        assert port.get("numVfs", 0) == len(port.get("Vfs", ())) <= before["totalvfs"]
        assert len({function["pciAddress"] for function in port.get("Vfs", ())}) == port.get("numVfs", 0)
    assert sum(resources("a", interfaces, asked).values()) <= sum(port.get("numVfs", 0) for port in interfaces)


@given(POLICIES, st.randoms())
def test_policy_order_does_not_matter(policies: list[Object], chance: Any) -> None:
    shuffled = list(policies)
    chance.shuffle(shuffled)
    assert desired_interfaces(shuffled, LABELS, FOUND) == desired_interfaces(policies, LABELS, FOUND)


@given(POLICIES)
def test_no_function_belongs_to_two_resources(policies: list[Object]) -> None:
    for port in desired_interfaces(policies, LABELS, FOUND):
        spans = [
            range(*(int(end) + n for n, end in enumerate(group["vfRange"].split("-")))) for group in port["vfGroups"]
        ]
        covered = [number for span in spans for number in span]
        # A policy may be wider than the port is cut, and then overlaps itself only.
        assert len(set(covered)) == len(covered)
