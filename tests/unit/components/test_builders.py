"""What the roles make of their settings, whole: the objects are in data/, one file a role."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from components.cluster.nodes import make_hardware, make_nodes
from components.cluster.settings import ClusterSettings, NodeGroup
from components.inference import operator_objects as operator
from components.inference.settings import InferenceSettings
from components.settings import load_role
from components.tenancy import builders as tenancy
from components.tenancy.settings import Tenant
from inferstack.apimachinery.objects import Object
from inferstack.mig import catalogue


def expected_objects(name: str) -> list[Object]:
    """Return the objects of a file in data/."""
    return list(yaml.safe_load_all((Path(__file__).parent / "data" / f"{name}.yaml").read_text()))


@pytest.fixture
def tenant() -> Tenant:
    """A tenant that says something of everything."""
    return Tenant.model_validate(
        {
            "gpus": 8,
            "mig": {"1g.5gb": 14, "1g.5gb+me": 1},
            "cpu": 64,
            "jobs": 5,
            "groups": ["nlp-engineers", "nlp-leads"],
            "podSecurity": "baseline",
            "container": {"cpuLimit": "2"},
        }
    )


def test_the_objects_of_a_tenant_with_its_namespace_first(tenant: Tenant) -> None:
    assert tenancy.make_tenant("nlp", tenant, {"k8s-app": "kube-dns"}) == expected_objects("tenant")


def test_what_all_tenants_share() -> None:
    assert [tenancy.make_cluster_role(), tenancy.make_priority_class("serving", 100000)] == expected_objects("tenancy")


def test_a_tenant_without_groups_gets_no_rights() -> None:
    kinds = {manifest["kind"] for manifest in tenancy.make_tenant("nlp", Tenant(), {"k8s-app": "kube-dns"})}
    assert kinds == {"Namespace", "LimitRange", "ResourceQuota", "NetworkPolicy"}


def test_a_quota_names_every_profile_as_its_resource_is_called(tenant: Tenant) -> None:
    hard = tenancy.make_quota("nlp", tenant)["spec"]["hard"]
    resources = {p.resource for gpu_model in catalogue.load().gpus.values() for p in gpu_model.profiles.values()}
    assert {key for key in hard if "mig-" in key} == {f"requests.{resource}" for resource in resources}
    assert sum(int(value) for key, value in hard.items() if "mig-" in key) == 15


def test_tenants_see_no_secrets() -> None:
    rules = tenancy.make_cluster_role()["rules"]
    assert not [rule for rule in rules if {"secrets", "*"} & {*rule["resources"], *rule["verbs"]}]


def test_the_objects_of_the_operator() -> None:
    settings = load_role("inference", InferenceSettings, None).operator
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    manifests = [
        operator.make_namespace(),
        *operator.make_rights(rules),
        operator.make_budget(),
        operator.make_deployment(settings, "an-image"),
    ]
    assert manifests == expected_objects("operator")


def test_a_stacks_own_image_goes_before_the_pinned_one() -> None:
    settings = load_role("inference", InferenceSettings, {"operator": {"image": "mine"}}).operator
    pod = operator.make_deployment(settings, "pinned")["spec"]["template"]["spec"]
    assert [container["image"] for container in pod["containers"]] == ["mine"]


def test_nodes_are_spread_over_the_zones_in_turn() -> None:
    cut = {
        "instanceType": "p4d.24xlarge",
        "count": 3,
        "migLayout": "all-1g.5gb",
        "labels": {"team": "nlp"},
        "nics": [{"resource": "openshift.io/mlnx_rdma", "vfs": 8}],
    }
    fleet = {"cut": cut, "system": {"instanceType": "m6i.2xlarge"}}
    settings = load_role("cluster", ClusterSettings, {"zones": ["a", "b"], "fleet": fleet})
    assert make_nodes(settings) == expected_objects("nodes")


@pytest.mark.parametrize("name", sorted(catalogue.load().instance_types))
def test_the_hardware_of_each_known_machine(name: str) -> None:
    hardware = json.loads(json.dumps(make_hardware(NodeGroup.model_validate({"instanceType": name}))))
    assert hardware["instanceType"] == name
    assert isinstance(hardware["cpu"], str)
    assert (hardware["gpu"] is None) == (hardware["gpus"] == 0)
    assert hardware["nics"] == []


def test_no_nodes_without_a_fleet() -> None:
    assert make_nodes(load_role("cluster", ClusterSettings, None)) == []
    empty = {"fleet": {"later": {"instanceType": "p4d.24xlarge", "count": 0}}}
    assert make_nodes(load_role("cluster", ClusterSettings, empty)) == []
