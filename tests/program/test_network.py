"""The network role in the program: what is registered, in which order, and what is refused before that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording

GROUP = "kubernetes:sriovnetwork.openshift.io/v1"
OPERATOR = "sriov-network-operator"
POLICY: dict[str, Any] = {
    "resourceName": "mlnx_rdma",
    "nodeSelector": {"fabric": "rdma"},
    "nicSelector": {"vendor": "15b3"},
    "numVfs": 8,
}
NETWORK = {"tenant": "nlp", "resourceName": "mlnx_rdma"}
SRIOV = {"enabled": True, "pools": {"p": {"nodeSelector": {"fabric": "rdma"}}}, "policies": {"q": POLICY}}


def urns(recording: Recording, kind: str) -> set[str]:
    result = {resource.urn for resource in recording.kind(kind)}
    assert result, kind
    return result


def test_objects_of_network_role_in_rehearsal(local: Recording) -> None:
    assert local.outputs[local.component("network", "Network").urn] == {
        "resources": ["openshift.io/mlnx_rdma", "vpc.amazonaws.com/efa"]
    }
    assert local.outputs[local.component("network", "TenantNetworks").urn] == {"networks": ["nlp/nlp-rdma"]}


def test_kinds_come_before_the_configuration_and_policies_after_the_pools(local: Recording) -> None:
    (config,) = local.kind("SriovOperatorConfig")
    kinds = {resource.urn for resource in local.kind("CustomResourceDefinition") if "sriovnetwork" in resource.name}
    assert kinds
    assert kinds <= local.before(config)
    for policy in local.kind("SriovNetworkNodePolicy"):
        assert {config.urn} | urns(local, "SriovNetworkPoolConfig") <= local.before(policy)


def test_networks_come_after_policies_and_their_tenant_and_before_jobs(local: Recording) -> None:
    (network,) = local.kind("SriovNetwork")
    tenant = local.get("kubernetes:core/v1:Namespace", "tenant-nlp")
    assert urns(local, "SriovNetworkNodePolicy") | {tenant.urn} <= local.before(network)
    for job in local.kind("InferenceJob"):
        assert network.urn in local.before(job)


def test_a_present_operators_configuration_is_left_to_its_installer(machine: Machine) -> None:
    present = machine.run("existing", network={"sriov": SRIOV}, addon={"mode": "present"})
    assert present.kind("SriovOperatorConfig") == []
    assert [resource.inputs["metadata"]["namespace"] for resource in present.kind("SriovNetworkNodePolicy")] == [
        OPERATOR
    ]
    assert not [resource for resource in present.kind("Namespace") if resource.name == OPERATOR]


def test_nothing_is_made_where_the_role_is_off(machine: Machine) -> None:
    recording = machine.run("local", network={"sriov": {**SRIOV, "enabled": False, "policies": {}}})
    assert not [resource for resource in recording.objects() if resource.type.startswith(GROUP)]
    assert recording.outputs[recording.component("network", "Network").urn] == {"resources": []}


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"sriov": {**SRIOV, "polices": {}}}, "inferstack:network.sriov.polices: unknown key; did you mean policies?"),
        ({"sriov": SRIOV}, "inferstack:network.sriov.policies.q.nodeSelector: no node of the fleet has fabric=rdma."),
        (
            {"sriov": {**SRIOV, "networks": {"n": {**NETWORK, "tenant": "x"}}}},
            'inferstack:network.sriov.networks.n.tenant: no tenant "x"; there are nlp.',
        ),
    ],
)
def test_impossible_settings_are_refused_before_registration(
    machine: Machine, network: dict[str, Any], message: str
) -> None:
    assert message in machine.refusal("local", network=network)
