"""Pure builders of the place aws: launch templates, policies, names, the kubeconfig."""

from __future__ import annotations

import base64
import email
import json
from typing import Any

import pytest
import yaml

from components.cluster.aws import launch, policies
from components.cluster.aws.demand import nat_gateways, quota_groups
from components.cluster.aws.kubeconfig import make_kubeconfig
from components.cluster.aws.names import Names
from components.cluster.aws.settings import AwsSettings, GpuNodes
from components.cluster.settings import ClusterSettings
from components.settings import load_role
from inferstack.aws import catalogue
from inferstack.aws.quotas import Group

NAMES = Names("prod", "123456789012", "us-east-2", (("cost-center", "ml"),))
KEY = "arn:aws:kms:us-east-2:123456789012:key/k"
NODES = GpuNodes(instanceTypes=("p5.48xlarge",))


def aws(**given: Any) -> AwsSettings:
    """Return settings with ``given`` over the defaults."""
    return load_role("cluster", ClusterSettings, {"aws": given}).aws


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [
        ("us-east-2", "aws", "amazonaws.com"),
        ("ap-southeast-3", "aws", "amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
    ],
)
def test_arns_are_of_the_regions_partition(region: str, partition: str, suffix: str) -> None:
    names = Names("prod", "123456789012", region, ())
    assert names.arn("eks", "cluster/x") == f"arn:{partition}:eks:{region}:123456789012:cluster/x"
    assert (names.root, names.suffix) == (f"arn:{partition}:iam::123456789012:root", suffix)
    assert names.aws_policy("x") == f"arn:{partition}:iam::aws:policy/x"


def test_tags_of_ours_cannot_be_overridden() -> None:
    names = Names("prod", "1", "us-east-2", (("inferstack:stack", "another"), ("Name", "x"), ("cost-center", "ml")))
    tags = names.tags("vpc")
    assert (tags["inferstack:stack"], tags["Name"], tags["cost-center"]) == ("prod", "inferstack-prod-vpc", "ml")
    assert names.tags(names.cluster)["Name"] == "inferstack-prod"


def test_names_want_checked_settings() -> None:
    with pytest.raises(ValueError, match="account and region"):
        Names.of(aws(), "prod")


@pytest.mark.parametrize(
    "name", [interface.name for interface in catalogue.load().instance_types.values() if interface.efa]
)
def test_a_machine_gets_all_its_efa_interfaces(name: str) -> None:
    machine = catalogue.instance_type(name)
    interfaces = launch.make_interfaces(machine, node_groups=["node", "efa"], efa_groups=["efa"])
    places = [(interface["network_card_index"], interface["device_index"]) for interface in interfaces]
    assert places[:2] == [(0, 0), (0, 1)]
    assert places[2:] == [(card, 0) for card in range(1, machine.efa)]
    assert [interface["interface_type"] for interface in interfaces] == ["interface", *["efa-only"] * machine.efa]
    assert [interface["security_groups"] for interface in interfaces] == [["node", "efa"], *[["efa"]] * machine.efa]
    per_card = [card for card, _ in places]
    assert max(per_card.count(card) for card in per_card) <= machine.interfaces_per_card


def test_the_user_data_is_mime_with_one_node_config() -> None:
    data = launch.make_user_data(local_store=True)
    assert data is not None
    message = email.message_from_bytes(base64.b64decode(data))
    (part,) = [part for part in message.walk() if not part.is_multipart()]
    assert message.get_content_type() == "multipart/mixed"
    assert part.get_content_type() == "application/node.eks.aws"
    config = yaml.safe_load(str(part.get_payload()))
    assert config == {
        "apiVersion": "node.eks.aws/v1alpha1",
        "kind": "NodeConfig",
        "spec": {"instance": {"localStorage": {"strategy": "RAID0"}}},
    }
    assert launch.make_user_data(local_store=False) is None


def test_a_template_names_groups_once() -> None:
    common: dict[str, Any] = {"disk_gib": 50, "disk_key": KEY, "security_groups": ["sg"]}
    plain = launch.make_launch_template(NAMES, "a", **common)
    assert plain["vpc_security_group_ids"] == ["sg"]
    assert {"network_interfaces", "placement", "instance_type", "user_data"} & plain.keys() == set()
    fast = launch.make_launch_template(NAMES, "a", **common, interfaces=[{"device_index": 0}])
    assert "vpc_security_group_ids" not in fast


def test_a_groups_labels_are_ours_and_the_stacks() -> None:
    nodes = NODES.model_copy(update={"labels": {"team": "nlp"}, "mig_layout": "all-1g.10gb"})
    group = launch.make_gpu_group(NAMES, "h100", nodes)
    assert group["labels"] == {
        "inferstack.dev/node-group": "h100",
        "team": "nlp",
        "nvidia.com/mig.config": "all-1g.10gb",
    }
    assert group["update_config"] == {"max_unavailable": 1}


def statements(document: policies.Document) -> list[dict[str, Any]]:
    """Return a document's statements, after a way through JSON."""
    result: list[dict[str, Any]] = json.loads(json.dumps(document))["Statement"]
    return result


def test_readers_read_one_bucket_with_one_key() -> None:
    allowed = statements(policies.make_reader_policy(NAMES, KEY))
    assert [statement["Resource"] for statement in allowed] == [
        "arn:aws:s3:::inferstack-prod-models-123456789012",
        "arn:aws:s3:::inferstack-prod-models-123456789012/*",
        KEY,
    ]
    actions = {action for statement in allowed for action in statement["Action"]}
    assert not any(action.startswith(("s3:Put", "s3:Delete", "kms:Encrypt", "kms:Generate")) for action in actions)


def test_readers_come_by_both_ways() -> None:
    trust = statements(policies.make_reader_trust(NAMES, "https://oidc.example/id/X", ("nlp/default", "vision/web")))
    pods, token = trust[:2], trust[2]
    tests = [condition["Condition"]["StringEquals"] for condition in pods]
    assert [
        (condition["aws:RequestTag/kubernetes-namespace"], condition["aws:RequestTag/kubernetes-service-account"])
        for condition in tests
    ] == [("nlp", "default"), ("vision", "web")]
    assert token["Principal"]["Federated"] == "arn:aws:iam::123456789012:oidc-provider/oidc.example/id/X"
    assert token["Condition"]["StringEquals"] == {
        "oidc.example/id/X:aud": "sts.amazonaws.com",
        "oidc.example/id/X:sub": ["system:serviceaccount:nlp:default", "system:serviceaccount:vision:web"],
    }


def test_the_disk_key_is_for_those_who_start_instances() -> None:
    allowed = statements(policies.make_disk_key_policy(NAMES))
    roles = allowed[1]["Condition"]["ArnEquals"]["aws:PrincipalArn"]
    assert [role.rpartition("/")[2] for role in roles] == ["AWSServiceRoleForAutoScaling", "AWSServiceRoleForEC2Spot"]
    assert allowed[2]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_the_load_balancer_controller_changes_only_what_it_made() -> None:
    changes = [
        statement
        for statement in statements(policies.make_load_balancer_policy(NAMES))
        if any(action.startswith("elasticloadbalancing:Delete") for action in statement["Action"])
    ]
    assert changes
    for statement in changes:
        assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/elbv2.k8s.aws/cluster": "inferstack-prod"}}


def test_the_autoscaler_changes_only_our_groups() -> None:
    (change,) = [
        statement
        for statement in statements(policies.make_autoscaler_policy(NAMES))
        if "autoscaling:SetDesiredCapacity" in statement["Action"]
    ]
    tag = "aws:ResourceTag/k8s.io/cluster-autoscaler/inferstack-prod"
    assert change["Condition"] == {"StringEquals": {tag: "owned"}}


@pytest.mark.parametrize(
    "document",
    [
        policies.make_load_balancer_policy(NAMES),
        policies.make_autoscaler_policy(NAMES),
        policies.make_reader_policy(NAMES, KEY),
        policies.make_cache_policy(NAMES),
        policies.make_template_policy(NAMES),
        policies.make_disk_policy(KEY),
    ],
)
def test_a_policy_fits_into_a_role(document: policies.Document) -> None:
    # IAM: inline policies of a role have 10,240 characters in all, white space aside.
    assert len(json.dumps(document, separators=(",", ":"))) < 10_240


def test_the_kubeconfig_asks_for_a_token() -> None:
    config = yaml.safe_load(make_kubeconfig(NAMES, "https://x", "Q0E="))
    assert config["current-context"] == config["contexts"][0]["name"] == "inferstack-prod"
    assert config["clusters"][0]["cluster"] == {"server": "https://x", "certificate-authority-data": "Q0E="}
    run = config["users"][0]["user"]["exec"]
    assert [run["command"], *run["args"][:4]] == ["aws", "--region", "us-east-2", "eks", "get-token"]


def test_demand_is_of_groups_at_their_largest() -> None:
    zones = [{"name": f"us-east-2{letter}", "nodes": "10.64.0.0/19", "public": "10.64.96.0/24"} for letter in "abc"]
    gpu = {"l40s": {"instanceTypes": ["g6e.xlarge"], "capacity": "SPOT", "maxNodes": 5}}
    settings = aws(gpu=gpu, network={"zones": zones})
    assert list(quota_groups(settings)) == [
        Group("system", ("m6i.2xlarge", "m7i.2xlarge"), "ON_DEMAND", 6),
        Group("l40s", ("g6e.xlarge",), "SPOT", 5),
    ]
    assert nat_gateways(settings) == 3
    assert nat_gateways(aws(network={"zones": zones, "nat": "single"})) == 1
