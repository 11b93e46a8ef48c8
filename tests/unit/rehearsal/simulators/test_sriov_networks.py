"""Networks as pods see them: what the operator makes of a SriovNetwork."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferstack.apimachinery.objects import Object
from rehearsal.simulators.sriov.networks import make_attachment

PLAIN = {"cniVersion": "1.0.0", "name": "n", "type": "sriov", "vlan": 0, "vlanQoS": 0, "ipam": {}}


def network(**spec: Any) -> Object:
    return {"metadata": {"name": "n", "namespace": "operator"}, "spec": {"resourceName": "r", **spec}}


def config(kind: str = "SriovNetwork", **spec: Any) -> Object:
    cni_config: Object = json.loads(make_attachment(kind, network(**spec), "a.b")["spec"]["config"])
    return cni_config


def test_attachment_names_resource_and_target_namespace() -> None:
    attachment = make_attachment("SriovNetwork", network(networkNamespace="nlp"), "a.b")
    assert attachment["metadata"] == {
        "name": "n",
        "namespace": "nlp",
        "annotations": {"k8s.v1.cni.cncf.io/resourceName": "a.b/r"},
    }
    assert make_attachment("SriovNetwork", network(), "a.b")["metadata"]["namespace"] == "operator"


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ({}, {}),
        ({"vlan": 5, "vlanQoS": 3, "vlanProto": "802.1q"}, {"vlan": 5, "vlanQoS": 3, "vlanProto": "802.1q"}),
        ({"spoofChk": "off", "trust": "on"}, {"spoofchk": "off", "trust": "on"}),
        ({"minTxRate": 0, "maxTxRate": 9}, {"min_tx_rate": 0, "max_tx_rate": 9}),
        ({"linkState": "auto"}, {"link_state": "auto"}),
        ({"logLevel": "info", "logFile": ""}, {"logLevel": "info"}),
        ({"ipam": '{"type": "static"}'}, {"ipam": {"type": "static"}}),
        ({"capabilities": '{"mac": true}'}, {"capabilities": {"mac": True}}),
    ],
)
def test_network_fields_become_cni_config(spec: Object, shown: Object) -> None:
    assert config(**spec) == {**PLAIN, **shown}


def test_infiniband_uses_its_own_plugin_without_vlan() -> None:
    assert config("SriovIBNetwork", linkState="enable") == {
        "cniVersion": "1.0.0",
        "name": "n",
        "type": "ib-sriov",
        "link_state": "enable",
        "ipam": {},
    }


def test_meta_plugins_make_a_plugin_list() -> None:
    cni_config = config(metaPlugins='{"type": "rdma"}, {"type": "tuning"}')
    assert [plugin["type"] for plugin in cni_config["plugins"]] == ["sriov", "rdma", "tuning"]
    assert cni_config.keys() == {"cniVersion", "name", "plugins"}


@pytest.mark.parametrize("key", ["ipam", "capabilities", "metaPlugins"])
def test_invalid_json_error_names_field(key: str) -> None:
    with pytest.raises(ValueError, match=rf"^spec\.{key}: "):
        config(**{key: "{type: static}"})
