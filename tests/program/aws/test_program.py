"""The place aws as part of the program: parents, provider, what it gives out, what waits for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
import yaml

from components.cluster.settings import ClusterSettings
from components.settings import load_role
from inferstack.aws import catalogue
from inferstack.project import project_root
from tests.program.aws.conftest import Graph, record, settings_of
from tests.program.aws.invariants import INVARIANTS

if TYPE_CHECKING:
    from tests.program.conftest import Machine

FULL = "inferstack:cluster.aws.gpu"


def changed(stack: str, **aws: Any) -> dict[str, Any]:
    """Return a stack's settings with these keys of aws replaced."""
    given = settings_of(stack)
    return {**given, "aws": {**given["aws"], **aws}}


def test_everything_lies_below_the_component(graph: Graph) -> None:
    component = graph.recording.component("cluster", "AwsCluster")
    assert graph.recording.resources[component.parent].type == "inferstack:cluster:Cluster"
    assert component.inputs == {}
    assert {resource.parent for resource in [*graph.all(), graph.provider()]} == {component.urn}


def test_the_outputs(prod: Graph) -> None:
    outputs = prod.outputs()
    assert outputs["modelBucket"] == "inferstack-prod-models-333333333333"
    assert outputs["modelRole"].endswith(":role/inferstack-prod-us-east-2-models")
    assert outputs["registry"] == "333333333333.dkr.ecr.us-east-2.amazonaws.com/inferstack-prod"
    kubeconfig = yaml.safe_load(outputs["kubeconfig"])
    (user,) = kubeconfig["users"]
    assert user["user"]["exec"]["args"][-4:] == ["--cluster-name", "inferstack-prod", "--output", "json"]
    assert "token" not in user["user"]


def test_every_kind_and_output_is_on_the_page(graphs: dict[str, Graph]) -> None:
    page = (project_root() / "docs" / "roles" / "cluster.md").read_text().partition("## Variables")[0]
    named = {resource.type.rpartition(":")[2] for graph in graphs.values() for resource in graph.all()}
    named |= {key for graph in graphs.values() for key in graph.outputs()} | {"inferstack:cluster:AwsCluster"}
    assert sorted(name for name in named if f"`{name}`" not in page) == []


def test_the_runbook_says_how_many_invariants_there_are() -> None:
    assert f"{len(INVARIANTS)} invariants" in (project_root() / "docs" / "aws.md").read_text()


def test_the_kubernetes_provider_takes_the_content(prod: Graph) -> None:
    (provider,) = [
        resource for resource in prod.recording.resources.values() if resource.type == "pulumi:providers:kubernetes"
    ]
    assert provider.inputs["kubeconfig"] == prod.outputs()["kubeconfig"]
    assert prod.recording.exports()["kubeconfig"] == prod.outputs()["kubeconfig"]


def test_a_preview_registers_what_the_update_does(prod: Graph) -> None:
    assert record("prod", settings_of("prod"), preview=True).recording.resources == prod.recording.resources


def test_whoever_reads_no_models_has_no_role() -> None:
    graph = record("dev", changed("dev", models={"readers": []}))
    assert "modelRole" not in graph.outputs()
    assert [association.name for association in graph.of("PodIdentityAssociation")] == ["balancers", "autoscaler"]


def test_a_capacity_block() -> None:
    block = {"instanceTypes": ["p5en.48xlarge"], "capacity": "CAPACITY_BLOCK", "reservation": "cr-0123456789abcdef0"}
    graph = record("prod", changed("prod", gpu={"h200": {**block, "zoneNames": ["us-east-2a"], "efa": True}}))
    assert [text for invariant in INVARIANTS for text in invariant(graph)] == []
    template, group = graph.resource("LaunchTemplate", "h200").inputs, graph.resource("NodeGroup", "h200").inputs
    assert template["instanceType"] == "p5en.48xlarge"
    assert template["instanceMarketOptions"] == {"marketType": "capacity-block"}
    assert "instanceTypes" not in group
    assert len(template["networkInterfaces"]) == 1 + catalogue.instance_type("p5en.48xlarge").efa


def test_no_registries_and_no_roles_for_them() -> None:
    given = changed("dev")
    given["aws"]["registries"] = {}
    # An empty mapping says nothing: mappings are merged, so the defaults stay.
    assert len(record("dev", given).of("PullThroughCacheRule")) == 3


def test_a_single_nat_gateway_serves_all_zones(graphs: dict[str, Graph]) -> None:
    assert len(graphs["dev"].of("NatGateway")) == 1
    routes = [
        resource.inputs["natGatewayId"] for resource in graphs["dev"].of("Route") if "natGatewayId" in resource.inputs
    ]
    assert routes == ["NatGateway-nat-us-west-2a-id"] * 3
    assert len(graphs["prod"].of("NatGateway")) == 3


def test_a_long_name_of_a_stack_ends_the_program() -> None:
    with pytest.raises(pulumi.RunError, match="longer than 15 characters"):
        record("a-stack-with-a-name", settings_of("dev"))


def test_a_group_asks_for_its_mig_layout(prod: Graph) -> None:
    labels = prod.resource("NodeGroup", "a100-mig").inputs["labels"]
    assert labels["nvidia.com/mig.config"] == "all-balanced"
    assert "nvidia.com/mig.config" not in prod.resource("NodeGroup", "h100").inputs["labels"]


def test_the_reservation_and_the_placement_group_reach_the_template(prod: Graph) -> None:
    template = prod.resource("LaunchTemplate", "h100").inputs
    target = template["capacityReservationSpecification"]["capacityReservationTarget"]
    assert target == {"capacityReservationId": "cr-0123456789abcdef0"}
    assert template["placement"] == {"groupName": "inferstack-prod-h100"}
    assert prod.resource("NodeGroup", "h100").inputs["updateConfig"]["updateStrategy"] == "MINIMAL"


def test_the_cni_gets_its_values(prod: Graph) -> None:
    values = json.loads(prod.resource("Addon", "vpc-cni").inputs["configurationValues"])
    assert values["env"]["ENABLE_PREFIX_DELEGATION"] == "true"


def test_the_settings_of_the_stacks_are_those_of_the_graph() -> None:
    loaded = load_role("cluster", ClusterSettings, settings_of("prod"))
    assert {cut.key for cut in loaded.cuts()} == {f"{FULL}.a100-mig.migLayout"}


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_the_whole_program_comes_after_the_nodes(machine: Machine, stack: str) -> None:
    recording = machine.run(stack)
    nodes = {
        resource.urn for resource in recording.resources.values() if resource.type == "aws:eks/nodeGroup:NodeGroup"
    }
    addons = {resource.urn for resource in recording.resources.values() if resource.type == "aws:eks/addon:Addon"}
    assert nodes
    for resource in recording.objects():
        assert nodes | addons <= recording.before(resource), resource.urn
    assert recording.exports()["kubeconfig"] == Graph(stack, recording).outputs()["kubeconfig"]


def test_invalid_setting_ends_program_before_registration(machine: Machine) -> None:
    given = changed("prod", gpu={"h100": {"instanceTypes": ["p5.48xlarge"], "migLayout": "all-1g.5gb"}})
    message = machine.refusal("prod", cluster=given)
    assert message.startswith(f'{FULL}.h100.migLayout: layout "all-1g.5gb" does not fit a H100')
    message = machine.refusal("prod", cluster=changed("prod", region="us-west-2"))
    assert message.startswith(
        'inferstack:cluster.aws.network.zones[0].name: "us-east-2a" is not in the region us-west-2'
    )
