"""Settings of the network role: what is refused, by its full key, before anything is registered."""

from __future__ import annotations

from typing import Any

import pytest

from components.inference.settings import InferenceSettings
from components.network.checks import check_network
from components.network.fleet import Machine, Port
from components.network.jobs import check_attachments, fill_levels
from components.network.settings import NetworkSettings
from components.settings import load_role, merge
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError

KEY = "inferstack:network.sriov"
LEAF = "topology.k8s.aws/network-node-layer-3"
POLICY: Object = {
    "resourceName": "mlnx_rdma",
    "nodeSelector": {"fabric": "rdma"},
    "nicSelector": {"vendor": "15b3", "deviceID": "101d", "pfNames": ["ens1f0#0-7"]},
    "numVfs": 8,
    "isRdma": True,
}
NETWORK: Object = {"tenant": "nlp", "resourceName": "mlnx_rdma"}
POOL: Object = {"nodeSelector": {"fabric": "rdma"}}
PORTS = (Port("15b3", "101d", "ens1f0", 16), Port("15b3", "101d", "ens2f0", 16))
FLEET = (
    Machine("a-0", {"fabric": "rdma", "zone": "a", LEAF: "nn-1"}, PORTS),
    Machine("b-0", {"zone": "b"}, (Port("8086", "1592", "ens1f0", 64),)),
)


def settings(given: Object) -> NetworkSettings:
    return load_role("network", NetworkSettings, given)


def sriov(**given: Any) -> Object:
    return {"sriov": {"enabled": True, **given}}


def edit(**changes: Any) -> Object:
    """Return settings with one policy, ``p``, changed so."""
    return sriov(policies={"p": merge(POLICY, changes)})


def refusal(given: Object, machines: tuple[Machine, ...] = ()) -> str:
    with pytest.raises(UserError) as raised:
        check_network(settings(given), ["nlp", "vision"], machines)
    return str(raised.value)


def test_the_defaults_make_nothing_and_are_fine() -> None:
    network = settings({})
    assert (network.sriov.enabled, network.efa.enabled, network.topology.levels) == (False, False, ())
    check_network(network, [], FLEET)


def test_a_whole_network_is_taken() -> None:
    given = sriov(pools={"rdma": POOL}, policies={"p": POLICY}, networks={"n": NETWORK})
    check_network(settings({**given, "topology": {"levels": [LEAF]}}), ["nlp"], FLEET)


SHAPES: list[tuple[Object, str]] = [
    ({"sriov": {"enabeld": True}}, f"{KEY}.enabeld: unknown key; did you mean enabled?"),
    ({"devices": "sriov"}, "inferstack:network.devices: unknown key"),
    (sriov(nodeSelector={}, resourcePrefix="Open Shift"), f"{KEY}.resourcePrefix: expected a domain such as"),
    (edit(resourceName="mlnx-rdma"), f"{KEY}.policies.p.resourceName: string should match pattern"),
    (edit(priority=100), f"{KEY}.policies.p.priority: input should be less than or equal to 99, got 100"),
    (edit(priority=-1), f"{KEY}.policies.p.priority: input should be greater than or equal to 0"),
    (edit(numVfs=0), f"{KEY}.policies.p.numVfs: input should be greater than or equal to 1"),
    (edit(numVfs="8"), f"{KEY}.policies.p.numVfs: input should be a valid integer"),
    (edit(isRdma="yes"), f"{KEY}.policies.p.isRdma: input should be a valid boolean"),
    (edit(deviceType="vfio"), f"{KEY}.policies.p.deviceType: input should be 'netdevice' or 'vfio-pci'"),
    (edit(nicSelector={"vendor": "Mellanox"}), f"{KEY}.policies.p.nicSelector.vendor: string should match pattern"),
    (edit(nicSelector={"deviceId": "101d"}),
     f"{KEY}.policies.p.nicSelector.deviceId: unknown key; did you mean deviceID?"),
    (edit(nicSelector={"rootDevices": ["86:00.0"]}),
     f"{KEY}.policies.p.nicSelector.rootDevices[0]: string should match"),
    (edit(nodeSelector={"capable": True}),
     f'{KEY}.policies.p.nodeSelector.capable: true without quotes is no text in YAML; write "true"'),
    (edit(nodeSelector={"a b": "c"}), f'{KEY}.policies.p.nodeSelector["a b"]'),
    (edit(nodeSelector=None), f"{KEY}.policies.p.nodeSelector: expected a mapping, got null"),
    (sriov(policies={"p": {**POLICY, "nodeSelector": {}}}), f"{KEY}.policies.p.nodeSelector: "),
    (sriov(pools={"x": {**POOL, "maxUnavailable": 0}}), f"{KEY}.pools.x.maxUnavailable: expected a number from 1"),
    (sriov(pools={"x": {**POOL, "maxUnavailable": "0%"}}), f"{KEY}.pools.x.maxUnavailable: expected a number from 1"),
    (sriov(pools={"x": {**POOL, "maxUnavailable": "half"}}), f"{KEY}.pools.x.maxUnavailable: expected a number from 1"),
    (sriov(pools={"x": {**POOL, "rdmaMode": "both"}}),
     f"{KEY}.pools.x.rdmaMode: input should be 'shared' or 'exclusive'"),
    (sriov(networks={"n": {**NETWORK, "spoofChk": False}}),
     f'{KEY}.networks.n.spoofChk: off without quotes is true or'),
    (sriov(networks={"n": {**NETWORK, "trust": True}}),
     f'{KEY}.networks.n.trust: on without quotes is true or false in'),
    (sriov(networks={"n": {**NETWORK, "trust": "yes"}}), f"{KEY}.networks.n.trust: input should be 'on' or 'off'"),
    (sriov(networks={"n": {**NETWORK, "vlan": 4095}}),
     f"{KEY}.networks.n.vlan: input should be less than or equal to 4094"),
    (sriov(networks={"n": {**NETWORK, "ipam": "{}"}}), f"{KEY}.networks.n.ipam: expected a mapping, got"),
    ({"efa": {"instanceTypes": ["p5"]}}, "inferstack:network.efa.instanceTypes[0]: string should match pattern"),
    ({"efa": {"tolerations": [{"efect": "NoSchedule"}]}}, "inferstack:network.efa.tolerations[0].efect: unknown key"),
    ({"topology": {"levels": ["Leaf/x"]}},
     "inferstack:network.topology.levels[0]: expected the key of a label such as example.com/rack, got"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"), SHAPES, ids=lambda value: value.split(":")[1] if isinstance(value, str) else ""
)
def test_what_no_setting_can_be_is_refused(given: Object, message: str) -> None:
    with pytest.raises(UserError) as raised:
        settings(given)
    assert message in str(raised.value)


RANGED = merge(POLICY, {"nicSelector": {"pfNames": ["ens1f0#4-7"]}, "resourceName": "other"})
TOGETHER: list[tuple[Object, str]] = [
    (edit(numVfs=129, nicSelector={"pfNames": []}),
     ".policies.p.numVfs: 129 exceeds the limit of the ConnectX-6-Dx, 128."),
    (edit(numVfs=64, isRdma=False, nicSelector={"vendor": "8086", "deviceID": "1563", "pfNames": []}),
     ".policies.p.numVfs: 64 exceeds the limit of the X550, 63."),
    (edit(nicSelector={"deviceID": "beef"}),
     ".policies.p.nicSelector.deviceID: nothing is known of NIC 15b3:beef; name it"),
    (edit(nicSelector={"vendor": "14e4", "deviceID": None}),
     ".policies.p.nicSelector.vendor: nothing is known of NIC 14e4:*; name it"),
    (edit(nicSelector={"vendor": "1d0f", "deviceID": None}),
     ".policies.p.nicSelector.vendor: 1d0f is Amazon, whose NICs"),
    (edit(nicSelector={"vendor": None, "deviceID": None, "pfNames": []}),
     ".policies.p.nicSelector: needs at least one of vendor, deviceID, pfNames and rootDevices"),
    (edit(nicSelector={"pfNames": ["ens1f0#0-8"]}),
     '.policies.p.nicSelector.pfNames[0]: "ens1f0#0-8" exceeds function 7'),
    (edit(nicSelector={"pfNames": ["a", "ens1f0#7-0"]}),
     '.policies.p.nicSelector.pfNames[1]: "ens1f0#7-0" ends before it'),
    (edit(nicSelector={"pfNames": ["ens1f0#0"]}), '.policies.p.nicSelector.pfNames[0]: "ens1f0#0" is neither a port'),
    (edit(deviceType="vfio-pci"), ".policies.p.isRdma: vfio-pci "),
    (edit(nicSelector={"vendor": "8086", "deviceID": "1572", "pfNames": []}),
     ".policies.p.isRdma: the X710 "),
    (edit(linkType="ib"), ".policies.p.linkType: the ConnectX-6-Dx is eth only."),
    (edit(linkType="ib", eSwitchMode="switchdev", nicSelector={"deviceID": "1021"}),
     ".policies.p.eSwitchMode: switchdev "),
    (edit(mtu=67), ".policies.p.mtu: 67 is not between 68 and 9978 bytes, what the ConnectX-6-Dx takes on Ethernet."),
    (edit(mtu=9979), ".policies.p.mtu: 9979 is not between"),
    (edit(mtu=9000, linkType="ib", nicSelector={"deviceID": "1021"}),
     ".policies.p.mtu: 9000 is not between 68 and 4092 bytes, what the ConnectX-7 takes on InfiniBand."),
    (sriov(policies={"p": POLICY, "q": RANGED}),
     ".policies.q.nicSelector.pfNames[0]: functions 4-7 of ens1f0 are policy p's too"),
    (sriov(policies={"p": POLICY, "q": {**RANGED, "nicSelector": {"pfNames": ["ens1f0"]}}}),
     ".policies.q.nicSelector.pfNames[0]: functions 0-7 of ens1f0 are policy p's too"),
    (sriov(policies={name: {**POLICY, "nicSelector": {"rootDevices": ["0000:86:00.0"]}} for name in "pq"}),
     ".policies.q.nicSelector.rootDevices: 0000:86:00.0 is policy p's too"),
    (sriov(policies={"p": POLICY, "q": {**POLICY, "isRdma": False, "nodeSelector": {"fabric": "b"}}}),
     ".policies.q.isRdma: policy p feeds the same resource mlnx_rdma with another value"),
    (sriov(policies={"p": POLICY, "q": {**POLICY, "excludeTopology": True, "nodeSelector": {"fabric": "b"}}}),
     ".policies.q.excludeTopology: policy p feeds the same resource"),
    (sriov(policies={"p": POLICY}, pools={"a": {**POOL, "rdmaMode": "exclusive"}, "b": {"nodeSelector": {"z": "b"}}}),
     ".policies.p.nodeSelector: matches nodes of pools with rdmaMode shared and exclusive"),
    (sriov(disableDrain=True, pools={"a": {**POOL, "maxUnavailable": 2}}),
     ".pools.a.maxUnavailable: limits concurrent drains, and inferstack:network.sriov.disableDrain"),
    (sriov(policies={"p": POLICY}, networks={"n": {**NETWORK, "tenant": "npl"}}),
     '.networks.n.tenant: no tenant "npl"; did you mean nlp?'),
    (sriov(policies={"p": POLICY}, networks={"n": {**NETWORK, "resourceName": "mlnx_rmda"}}),
     '.networks.n.resourceName: no policy makes "mlnx_rmda"; did you mean mlnx_rdma?'),
    (sriov(networks={"n": NETWORK}), '.networks.n.resourceName: no policy makes "mlnx_rdma"; they make none.'),
    (sriov(policies={"p": POLICY}, networks={"n": {**NETWORK, "ipam": {"range": "10.0.0.0/8"}}}),
     ".networks.n.ipam.type: is required"),
    (sriov(policies={"p": POLICY}, networks={"n": {**NETWORK, "metaPlugins": [{"sysctl": {}}]}}),
     ".networks.n.metaPlugins[0].type: is required"),
    (sriov(policies={"p": POLICY}, networks={"n": {**NETWORK, "vlanQoS": 3}}),
     ".networks.n.vlanQoS: is a priority within"),
    (sriov(policies={"p": POLICY}, networks={"n": {**NETWORK, "minTxRate": 9, "maxTxRate": 8}}),
     ".networks.n.minTxRate: 9 is more than maxTxRate, 8."),
    (sriov(policies={"p": {**POLICY, "linkType": "ib", "nicSelector": {"deviceID": "1021"}}},
           networks={"n": {**NETWORK, "vlan": 5, "trust": "on"}}),
     ".networks.n.trust: is for Ethernet, and mlnx_rdma is InfiniBand"),
    (sriov(policies={"p": POLICY}, networks={"n": {**NETWORK, "metaPlugins": [{"type": "rdma"}]}}),
     ".networks.n.metaPlugins: rdma works with rdmaMode exclusive only"),
    (sriov(policies={"p": {**POLICY, "isRdma": False}}, networks={"n": {**NETWORK, "metaPlugins": [{"type": "rdma"}]}}),
     ".networks.n.metaPlugins: rdma moves RDMA devices, and no policy of mlnx_rdma sets isRdma."),
    (sriov(policies={"p": POLICY}, pools={"a": {**POOL, "rdmaMode": "exclusive"}}, networks={"n": NETWORK}),
     ".networks.n.metaPlugins: with rdmaMode exclusive a pod sees no RDMA device that was not moved to it"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"), TOGETHER, ids=lambda value: value.split(":")[0] if isinstance(value, str) else ""
)
def test_what_settings_cannot_be_together_is_refused(given: Object, message: str) -> None:
    assert KEY + message in refusal(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (edit(nodeSelector={"fabric": "rmda"}),
         f"{KEY}.policies.p.nodeSelector: no node of the fleet has fabric=rmda."),
        (edit(nicSelector={"pfNames": ["ens9"]}),
         f"{KEY}.policies.p.nicSelector: fits no port of these nodes, which have 15b3:101d ens1f0, 15b3:101d ens2f0."),
        (edit(numVfs=17), f"{KEY}.policies.p.numVfs: 17 are more than ens1f0 of the fleet holds, 16."),
        (sriov(pools={"a": POOL, "b": {"nodeSelector": {"zone": "a"}}}),
         f"{KEY}.pools.b.nodeSelector: matches node a-0, which is in pool a already"),
        ({"topology": {"levels": ["topology.k8s.aws/network-node-layer-4"]}},
         "inferstack:network.topology.levels[0]: no node of the fleet has the label "
         f"topology.k8s.aws/network-node-layer-4; did you mean {LEAF}?"),
        ({"topology": {"levels": [LEAF, LEAF]}}, f"inferstack:network.topology.levels[1]: {LEAF} is a duplicate."),
    ],
)  # fmt: skip
def test_what_a_simulated_fleet_cannot_do_is_refused(given: Object, message: str) -> None:
    assert message in refusal(given, FLEET)


def test_labels_that_discovery_writes_are_not_looked_for_beforehand() -> None:
    given = edit(nodeSelector={"fabric": None, "feature.node.kubernetes.io/network-sriov.capable": "true"})
    given["sriov"]["policies"]["p"]["nodeSelector"].pop("fabric")
    check_network(settings(given), [], FLEET)


def test_a_nic_that_is_named_may_be_cut_within_its_limits() -> None:
    extra = {"mine": {"vendor": "14e4", "device": "16d7", "vfDevice": "16dc", "maxVfs": 10}}
    selector = {"vendor": "14e4", "deviceID": "16d7"}
    policy = {**POLICY, "nicSelector": selector, "isRdma": False}
    check_network(settings(sriov(extraNics=extra, policies={"p": policy})), [], ())
    message = refusal(sriov(extraNics=extra, policies={"p": {**policy, "numVfs": 11}}))
    assert message == f"{KEY}.policies.p.numVfs: 11 exceeds the limit of the mine, 10."


def test_policies_that_share_out_a_port_or_meet_on_no_node_are_taken() -> None:
    upper = merge(RANGED, {"nicSelector": {"pfNames": ["ens1f0#8-15"]}, "numVfs": 16})
    elsewhere = {**RANGED, "nodeSelector": {"fabric": "other"}}
    for other in (upper, elsewhere):
        check_network(settings(sriov(policies={"p": POLICY, "q": other})), [], ())


def test_all_that_is_wrong_is_said_at_once() -> None:
    message = refusal(
        sriov(policies={"p": {**POLICY, "numVfs": 200, "mtu": 5}}, networks={"n": {**NETWORK, "tenant": "x"}})
    )
    assert [line.partition(": ")[0] for line in message.splitlines()] == [
        f"{KEY}.policies.p.numVfs",
        f"{KEY}.policies.p.mtu",
        f"{KEY}.networks.n.tenant",
    ]


def inference(**spec: Any) -> InferenceSettings:
    return load_role("inference", InferenceSettings, {"jobs": [{"metadata": {"name": "a"}, "spec": spec}]})


def test_jobs_that_ask_for_a_placement_get_the_clusters_switches() -> None:
    filled = fill_levels(inference(placement={"prefer": "Pack"}), [LEAF])
    assert filled.jobs[0].spec["placement"] == {"prefer": "Pack", "levels": [LEAF]}
    own = inference(placement={"levels": ["rack"]})
    assert fill_levels(own, [LEAF]) == own
    assert fill_levels(inference(), [LEAF]) == inference()


def test_a_placement_without_switches_is_refused() -> None:
    with pytest.raises(UserError) as raised:
        fill_levels(inference(placement={"prefer": "Pack"}), ())
    assert str(raised.value).startswith("inferstack:inference.jobs[0].spec.placement.levels: is required where")


@pytest.mark.parametrize(
    ("namespace", "limits", "message"),
    [
        ("nlp", {"openshift.io/mlnx_rdma": 1}, None),
        (
            "vision",
            {"openshift.io/mlnx_rdma": 1},
            ".networks[1]: n is in the namespace of tenant nlp, the job in vision",
        ),
        ("nlp", {}, '.resources.limits["openshift.io/mlnx_rdma"]: is required, the device of network n.'),
    ],
)
def test_jobs_on_networks_of_the_stack(namespace: str, limits: Object, message: str | None) -> None:
    network = settings(sriov(policies={"p": POLICY}, networks={"n": NETWORK})).sriov
    job = {"metadata": {"namespace": namespace}, "spec": {"networks": ["others", "n"], "resources": {"limits": limits}}}
    if message is None:
        check_attachments(network, [job])
        return
    with pytest.raises(UserError) as raised:
        check_attachments(network, [job])
    assert f"inferstack:inference.jobs[0].spec{message}" in str(raised.value)
