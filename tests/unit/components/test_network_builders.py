"""The network role's objects and chart values, whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from components.addon.catalogue import AddonName, load
from components.addon.values import check
from components.cluster.nics import Nic
from components.network import builders
from components.network.fleet import Port, machines_of
from components.network.settings import NetworkSettings
from components.settings import load_role
from inferstack.network import nics
from inferstack.toolchain import crds
from tests.chart_values import ChartDefaults

GIVEN: dict[str, Any] = {
    "sriov": {
        "enabled": True,
        "featureGates": {"parallelNicConfig": True},
        "pools": {"rdma": {"nodeSelector": {"fabric": "rdma"}, "maxUnavailable": "25%", "rdmaMode": "exclusive"}},
        "policies": {
            "rdma": {
                "resourceName": "mlnx_rdma",
                "nodeSelector": {"fabric": "rdma"},
                "nicSelector": {"vendor": "15b3", "deviceID": "101d", "pfNames": ["ens1f0#0-7"]},
                "numVfs": 8,
                "priority": 10,
                "isRdma": True,
                "mtu": 9000,
            },
            "ib": {
                "resourceName": "mlnx_ib",
                "nodeSelector": {"fabric": "ib"},
                "nicSelector": {"rootDevices": ["0000:86:00.0"]},
                "numVfs": 4,
                "linkType": "ib",
            },
        },
        "networks": {
            "fast": {
                "tenant": "nlp",
                "resourceName": "mlnx_rdma",
                "ipam": {"type": "whereabouts", "range": "10.56.0.0/16"},
                "capabilities": {"mac": True},
                "metaPlugins": [{"type": "rdma"}, {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}],
                "spoofChk": "off",
                "trust": "on",
                "vlan": 0,
            },
            "slow": {"tenant": "nlp", "resourceName": "mlnx_ib", "linkState": "enable"},
        },
    },
    "efa": {"enabled": True, "instanceTypes": ["p5.48xlarge"], "nodeSelector": {"efa": "present"}},
}


def settings(given: dict[str, Any]) -> NetworkSettings:
    return load_role("network", NetworkSettings, given)


def objects() -> list[dict[str, Any]]:
    sriov = settings(GIVEN).sriov
    return [
        builders.make_operator_config(sriov),
        *(builders.make_pool(name, pool) for name, pool in sriov.pools.items()),
        *(builders.make_policy(name, policy) for name, policy in sriov.policies.items()),
        *(builders.make_network(name, network, sriov) for name, network in sriov.networks.items()),
    ]


def test_the_objects_of_the_network_role() -> None:
    expected = yaml.safe_load_all((Path(__file__).parent / "data" / "network.yaml").read_text())
    assert objects() == list(expected)


def test_the_kinds_are_those_of_the_operator() -> None:
    relied_on = {crd.partition(".")[0] for crd in load()["sriov-network-operator"].crds}
    assert {f"{manifest['kind'].lower()}".replace("policy", "policie") + "s" for manifest in objects()} <= relied_on


@pytest.mark.parametrize(
    "manifest", objects(), ids=lambda manifest: f"{manifest['kind']}-{manifest['metadata']['name']}"
)
def test_each_object_fits_its_crd(manifest: dict[str, Any]) -> None:
    plural = f"{manifest['kind'].lower()}".replace("policy", "policie") + "s"
    (crd,) = crds.load("sriov-network-operator", [f"{plural}.sriovnetwork.openshift.io"])
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    jsonschema.validate(manifest["spec"], {**schema, "additionalProperties": False})


CHARTS = builders.make_charts(
    settings(
        {
            **GIVEN,
            "sriov": {
                **GIVEN["sriov"],
                "featureGates": {"metricsExporter": True},
                "extraNics": {"mine": {"vendor": "14e4", "device": "16d7", "vfDevice": "16dc", "maxVfs": 8}},
            },
        }
    ),
    monitored=True,
)


def test_the_values_of_the_charts() -> None:
    assert CHARTS == {
        "sriov-network-operator": {
            "operator": {
                "resourcePrefix": "openshift.io",
                "metricsExporter": {
                    "prometheusOperator": {"enabled": True, "serviceAccount": "kube-prometheus-stack-prometheus"}
                },
            },
            "supportedExtraNICs": ['mine: "14e4 16d7 16dc"'],
        },
        "aws-efa-k8s-device-plugin": {
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "supportedInstanceLabels": {"values": ["p5.48xlarge"]},
            "nodeSelector": {"efa": "present"},
        },
    }


@pytest.mark.parametrize("name", CHARTS)
def test_charts_accept_every_value(name: AddonName, chart_defaults: ChartDefaults) -> None:
    assert list(check(CHARTS[name], chart_defaults(name))) == []


def test_monitors_come_with_prometheus_and_the_exporter_only() -> None:
    assert builders.make_charts(settings(GIVEN), monitored=True)["sriov-network-operator"] == {
        "operator": {"resourcePrefix": "openshift.io"}
    }


def test_no_charts_where_the_role_is_off() -> None:
    assert builders.make_charts(settings({}), monitored=True) == {}
    assert builders.resources(settings({})) == []


def test_the_resources_that_pods_can_ask_for() -> None:
    assert builders.resources(settings(GIVEN)) == [
        "openshift.io/mlnx_ib",
        "openshift.io/mlnx_rdma",
        "vpc.amazonaws.com/efa",
    ]


def test_the_agent_is_told_of_a_nic_with_the_limits_of_its_model() -> None:
    given = {"vendor": "15b3", "deviceID": "1021", "pfNames": ["ens1f0"], "linkType": "ib"}
    assert Nic.model_validate(given).described() == {**given, "maxVfs": nics.load()["ConnectX-7"].max_vfs}
    assert Nic.model_validate({**given, "maxVfs": 8}).described()["maxVfs"] == 8
    plain = {"resource": "vpc.amazonaws.com/efa", "vfs": 4}
    assert Nic.model_validate(plain).described() == plain


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"resource": "a/b"}, "resource needs vfs"),
        ({"resource": "a/b", "vfs": 1, "vendor": "15b3"}, "resource and vfs stand alone"),
        ({"vendor": "15b3"}, "needs vendor, deviceID and pfNames"),
        ({"vendor": "15b3", "deviceID": "beef", "pfNames": ["a"]}, "nothing is known of NIC 15b3:beef; say its maxVfs"),
        (
            {"vendor": "15b3", "deviceID": "101d", "pfNames": ["a"], "linkType": "ib"},
            "ConnectX-6-Dx is eth only, not ib",
        ),
    ],
)
def test_a_nic_that_is_none_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Nic.model_validate(given)


def test_the_fleet_is_seen_as_its_nodes_describe_it() -> None:
    hardware = '{"nics": [{"resource": "a/b", "vfs": 1}, {"vendor": "15b3", "deviceID": "1021", "pfNames": ["x", "y"], '
    hardware += '"maxVfs": 4, "linkType": "eth"}]}'
    meta = {"name": "n", "labels": {"a": "b"}, "annotations": {"rehearsal.inferstack.dev/hardware": hardware}}
    (machine,) = machines_of([{"metadata": meta}])
    assert machine.ports == (Port("15b3", "1021", "x", 4), Port("15b3", "1021", "y", 4))
