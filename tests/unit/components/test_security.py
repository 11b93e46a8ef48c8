"""Security: who encrypts, which tenants are privileged, what nodes must have, and what is made of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest

from components.addon.values import check as check_values
from components.objects import make_namespace
from components.security import builders
from components.security.checks import check_security
from components.security.prerequisites import (
    PREREQUISITES,
    Feature,
    Need,
    NodeFacts,
    check,
    check_daemonsets,
    check_nodes,
    facts_of,
    features,
    parse_kernel,
)
from components.security.settings import SecuritySettings
from components.settings import load_role
from components.tenancy.builders import make_namespace as make_tenant_namespace
from components.tenancy.settings import Tenant
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError
from tests.chart_values import ChartDefaults

WIREGUARD = {"encryption": {"mode": "wireguard"}}
DOUBLE = {"encryption": {"mode": "wireguard", "allowDouble": {"reason": "pods of others share our nodes"}}}
REASON = "its profiler reads the counters of the CPU"
TODAY = dt.date(2026, 11, 25)
STRICT, PERMISSIVE, OFF = (True, True), (True, False), (False, False)


def settings(given: Mapping[str, Any] | None = None) -> SecuritySettings:
    """Return the role's settings."""
    return load_role("security", SecuritySettings, given)


def verdict(given: Mapping[str, Any], mesh: tuple[bool, bool] = OFF, tenants: Mapping[str, str] | None = None) -> str:
    """Return the error message for a stack, empty if it is valid."""
    encrypts, strict = mesh
    levels = {name: Tenant.model_validate({"podSecurity": level}) for name, level in (tenants or {}).items()}
    try:
        check_security(settings(given), levels, mesh_encrypts=encrypts, mesh_strict=strict, today=TODAY)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("given", "mesh", "expected"),
    [
        ({}, STRICT, ""),
        ({}, OFF, "encryption.mode: mtls requires a mesh"),
        ({}, PERMISSIVE, "encryption.mode: mtls requires a mesh"),
        (WIREGUARD, OFF, ""),
        (WIREGUARD, STRICT, "encryption.mode: wireguard and mutual TLS"),
        (WIREGUARD, PERMISSIVE, "encryption.mode: wireguard and mutual TLS"),
        (DOUBLE, STRICT, ""),
        (DOUBLE, PERMISSIVE, ""),
        (DOUBLE, OFF, "encryption.allowDouble: this stack encrypts once (mode wireguard)"),
        ({"encryption": {**DOUBLE["encryption"], "mode": "mtls"}}, STRICT, "encryption.allowDouble: this stack"),
        ({"encryption": {"mode": "none"}}, OFF, "encryption.mode: none leaves traffic between nodes in plain text"),
        ({"encryption": {"mode": "none"}}, STRICT, "encryption.mode: none, but the mesh encrypts"),
        ({"encryption": {"mode": "none", "required": False}}, OFF, ""),
        ({"encryption": {"mode": "none", "required": False}}, STRICT, "encryption.mode: none, but the mesh encrypts"),
        ({"enabled": False, **WIREGUARD}, STRICT, ""),
    ],
)
def test_traffic_is_encrypted_once_and_by_somebody(
    given: Mapping[str, Any], mesh: tuple[bool, bool], expected: str
) -> None:
    message = verdict(given, mesh)
    assert message.startswith(f"inferstack:security.{expected}") if expected else message == ""


@pytest.mark.parametrize(
    ("exceptions", "tenants", "expected"),
    [
        ({}, {"nlp": "restricted", "cv": "baseline"}, ""),
        ({"nlp": REASON}, {"nlp": "privileged"}, ""),
        ({}, {"nlp": "privileged"}, "inferstack:tenancy.tenants.nlp.podSecurity: a privileged pod "),
        (
            {"nlp": REASON},
            {"nlp": "baseline"},
            "inferstack:security.podSecurity.exceptions.nlp: the tenant's podSecurity",
        ),
        (
            {"nlpp": REASON},
            {"nlp": "baseline"},
            "inferstack:security.podSecurity.exceptions.nlpp: there is no such tenant",
        ),
    ],
)
def test_a_privileged_tenant_needs_a_reason_and_a_reason_a_privileged_tenant(
    exceptions: Mapping[str, str], tenants: Mapping[str, str], expected: str
) -> None:
    message = verdict({"podSecurity": {"exceptions": exceptions}}, STRICT, tenants)
    assert message.startswith(expected) if expected else message == ""


@pytest.mark.parametrize("reason", ["", "ok", "         x         "])
def test_a_reason_is_a_sentence(reason: str) -> None:
    with pytest.raises(UserError, match=r"inferstack:security\.podSecurity\.exceptions\.nlp: "):
        settings({"podSecurity": {"exceptions": {"nlp": reason}}})


@pytest.mark.parametrize(
    ("cilium", "key"),
    [
        ({"kubeProxy": "replaced"}, "apiServer"),
        ({"apiServer": {"host": "10.0.0.1"}}, "apiServer"),
        ({"routing": "native"}, "routing"),
        ({"nativeCidr": "10.0.0.0/8"}, "nativeCidr"),
        ({"cni": "only", "routing": "native"}, "nativeCidr"),
        ({"cni": "only", "nativeCidr": "10.0.0.0/8"}, "nativeCidr"),
        ({"mtu": 1359}, "mtu"),
        ({"cni": "only", "mtu": 1409}, "mtu"),
    ],
)
def test_what_is_said_of_cilium_goes_together(cilium: Mapping[str, Any], key: str) -> None:
    assert verdict({**WIREGUARD, "cilium": cilium}).startswith(f"inferstack:security.cilium.{key}: ")
    # It is only looked at where it is used.
    assert verdict({"cilium": cilium}, STRICT) == ""


@pytest.mark.parametrize(
    "cilium", [{"mtu": 1360}, {"cni": "only", "mtu": 1410}, {"cni": "only", "podCidr": "10.4.0.0/16"}]
)
def test_the_least_that_is_enough_is_taken(cilium: Mapping[str, Any]) -> None:
    assert verdict({**WIREGUARD, "cilium": cilium}) == ""


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"encryption": {"mode": "ipsec"}}, "encryption.mode"),
        ({"encryption": {"wireguard": True}}, "encryption.wireguard"),
        ({"encryption": {"allowDouble": True}}, "encryption.allowDouble"),
        ({"encryption": {"allowDouble": {}}}, "encryption.allowDouble.reason"),
        ({"cilium": {"mtu": "9001"}}, "cilium.mtu"),
        ({"cilium": {"mtu": 100}}, "cilium.mtu"),
        ({"cilium": {"podCidr": "100.64.0.1/14"}}, "cilium.podCidr"),
        ({"cilium": {"podCidr": "fd00::/104"}}, "cilium.podCidr"),
        ({"cilium": {"apiServer": {"host": "https://api", "port": 443}}}, "cilium.apiServer.host"),
        ({"cilium": {"apiServer": {"host": "api", "port": 0}}}, "cilium.apiServer.port"),
        ({"nodes": {"kernel": 5.10}}, "nodes.kernel"),
        ({"nodes": {"kernel": "new"}}, "nodes.kernel"),
        ({"nodes": {"config": {"WIREGUARD": "m"}}}, "nodes.config"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(given: Mapping[str, Any], path: str) -> None:
    with pytest.raises(UserError, match=rf"^inferstack:security\.{path.replace('.', '[.]')}"):
        settings(given)


# The kernels of EKS AL2023, Ubuntu 22.04 and 24.04, RHEL 9, Debian 12; then those that are too old.
@pytest.mark.parametrize(
    "release",
    [
        "6.1.141-155.222.amzn2023.x86_64",
        "5.15.0-1084-aws",
        "6.8.0-31-generic",
        "5.14.0-503.el9.x86_64",
        "6.1.0-13-amd64",
        "5.10.0",
    ],
)
def test_kernels_that_are_new_enough(release: str) -> None:
    assert check(NodeFacts("n", release), list(Feature)) == []


@pytest.mark.parametrize(
    ("release", "lacking"),
    [
        ("5.4.0-1103-aws", {Feature.CILIUM, Feature.WIREGUARD}),
        ("5.9.16", {Feature.CILIUM}),
        # A RHEL 8.10 kernel is good enough for Cilium and has no WireGuard; an older one is good enough for nothing.
        ("4.18.0-553.el8_10.x86_64", {Feature.WIREGUARD}),
        ("4.18.0-477.el8_8.x86_64", {Feature.CILIUM, Feature.WIREGUARD}),
    ],
)
def test_kernels_that_are_too_old(release: str, lacking: set[Feature]) -> None:
    problems = check(NodeFacts("n", release), list(Feature))
    assert {
        feature for feature in Feature for problem in problems if problem.text.startswith(f"{feature} needs")
    } == lacking
    assert all(problem.known and problem.where == "n" and problem.source for problem in problems)


def test_a_module_that_somebody_has_built_is_good_enough_for_wireguard() -> None:
    facts = NodeFacts("n", "4.18.0-553.el8_10.x86_64", config={"CONFIG_WIREGUARD": "m"})
    assert check(facts, [Feature.CILIUM, Feature.WIREGUARD]) == []


@pytest.mark.parametrize("row", [row for row in PREREQUISITES if row.need is Need.OPTION], ids=lambda row: row.value)
def test_an_option_that_is_known_to_be_off_is_told(row: Any) -> None:
    (problem,) = check(NodeFacts("n", "6.1.0", config={row.value: "n"}), [row.feature])
    assert row.value in problem.text
    assert check(NodeFacts("n", "6.1.0", config={row.value: "m"}), [row.feature]) == []
    assert check(NodeFacts("n", "6.1.0", config={row.value: "n"}), []) == []


def test_every_row_of_the_table_has_a_source_and_a_remedy() -> None:
    assert all(row.source and row.remedy for row in PREREQUISITES)
    assert len({(row.feature, row.need, row.value) for row in PREREQUISITES}) == len(PREREQUISITES)


def node(name: str, kernel: str, architecture: str = "amd64", labels: Mapping[str, str] | None = None) -> Object:
    """Return a Node as the API server holds it."""
    info = {"kernelVersion": kernel, "architecture": architecture, "containerRuntimeVersion": "containerd://2.1.5"}
    return {"metadata": {"name": name, "labels": labels or {}}, "status": {"nodeInfo": info}}


def test_the_nodes_of_a_cluster_are_held_against_what_the_stack_asks_for() -> None:
    wireguard = {"feature.node.kubernetes.io/kernel-config.BPF_JIT": "false"}
    nodes = [
        node("good", "6.1.141-155.222.amzn2023.x86_64"),
        node("old", "5.4.0"),
        node("odd", "6.1.0", "s390x"),
        node("bare", "6.1.0", labels=wireguard),
        node("simulated", "kwok"),
    ]
    problems = check_nodes(nodes, features(settings(WIREGUARD)))
    assert {problem.where for problem in problems if problem.known} == {"old", "odd", "bare"}
    assert {problem.where for problem in problems if not problem.known} == {"simulated"}
    assert str(next(problem for problem in problems if problem.where == "odd")).startswith(
        "odd: Cilium has no images for s390x"
    )
    # Without Cilium nothing is asked of them.
    assert check_nodes(nodes, features(settings())) == []


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ("containerd://2.1.5", ""),
        ("containerd://1.7.27", ""),
        ("containerd://1.6.25", ""),
        ("containerd://1.7.6", "n: WebAssembly needs containerd 1.6.25 or 1.7.7, found 1.7.6"),
        ("containerd://1.6.24", "n: WebAssembly needs containerd"),
        ("containerd://1.5.30", "n: WebAssembly needs containerd"),
        ("cri-o://1.34.0", "n: WebAssembly needs containerd, found cri-o://1.34.0"),
        ("kwok-v0.7.0", "n: WebAssembly needs containerd, found kwok"),
        ("containerd://new", 'n: the container runtime "containerd://new" cannot be read'),
    ],
)
def test_webassembly_needs_a_containerd_that_knows_its_images(runtime: str, expected: str) -> None:
    problems = check(NodeFacts("n", runtime=runtime), features(settings(), wasm=True))
    assert str(problems[0]).startswith(expected) if expected else problems == []
    assert check(NodeFacts("n", runtime=runtime), features(settings())) == []


def test_a_node_that_has_not_reported_yet_is_not_held_against() -> None:
    facts = facts_of({"metadata": {"name": "new"}, "status": {}})
    assert facts == NodeFacts("new")
    assert check(facts, list(Feature)) == []


def test_what_the_stack_says_of_its_nodes_is_checked_before_anything_changes() -> None:
    message = verdict({**WIREGUARD, "nodes": {"kernel": "5.4.0", "config": {"CONFIG_CGROUP_BPF": "n"}}})
    assert message.count("inferstack:security.nodes.kernel: ") == 3
    assert verdict({"nodes": {"kernel": "5.4.0"}}, STRICT) == ""


def daemon_set(name: str, image: str = "x:v1.20.0") -> Object:
    """Return a DaemonSet of kube-system."""
    return {"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": [{"image": image}]}}}}


@pytest.mark.parametrize(
    ("cilium", "there", "expected"),
    [
        ({}, [daemon_set("aws-node"), daemon_set("kube-proxy")], []),
        ({}, [daemon_set("kube-proxy")], ["daemonset/aws-node: it is missing"]),
        ({}, [daemon_set("aws-node", "r/amazon-k8s-cni:v1.10.4")], ["daemonset/aws-node: Cilium needs 1.11.2"]),
        ({"cni": "only"}, [daemon_set("aws-node")], ["daemonset/aws-node: it is a second CNI"]),
        ({"kubeProxy": "replaced"}, [daemon_set("aws-node"), daemon_set("kube-proxy")], ["daemonset/kube-proxy: it"]),
    ],
)
def test_what_stands_in_ciliums_way_is_told(
    cilium: Mapping[str, Any], there: list[Object], expected: list[str]
) -> None:
    problems = [str(problem) for problem in check_daemonsets(there, settings({**WIREGUARD, "cilium": cilium}))]
    assert len(problems) == len(expected)
    assert all(text.startswith(start) for text, start in zip(problems, expected, strict=True))
    assert check_daemonsets(there, settings()) == []


@pytest.mark.parametrize(("release", "numbers"), [("6.1.141-1.x", (6, 1, 141)), ("5.10", (5, 10)), ("kwok", None)])
def test_the_numbers_of_a_kernel(release: str, numbers: tuple[int, ...] | None) -> None:
    assert parse_kernel(release) == numbers


def chart(cilium: Mapping[str, Any] | None = None, *, monitored: bool = False) -> Object:
    """Return the values of Cilium's chart."""
    return builders.make_charts(settings({**WIREGUARD, "cilium": cilium or {}}), monitored=monitored)["cilium"]


def test_without_wireguard_there_is_no_cilium() -> None:
    assert builders.make_charts(settings(), monitored=True) == {}
    assert builders.make_charts(settings({"enabled": False, **WIREGUARD}), monitored=True) == {}


def test_chained_to_the_aws_cni() -> None:
    assert chart({"nodeEncryption": True, "mtu": 9001}) == {
        "encryption": {
            "enabled": True,
            "type": "wireguard",
            "nodeEncryption": True,
            "strictMode": {"ingress": {"enabled": False}},
        },
        "kubeProxyReplacement": "false",
        "prometheus": {"enabled": False, "serviceMonitor": {"enabled": False, "trustCRDsExist": False}},
        "cni": {"chainingMode": "aws-cni", "exclusive": False, "enableRouteMTUForCNIChaining": True},
        "enableIPv4Masquerade": False,
        "routingMode": "native",
        "endpointRoutes": {"enabled": True},
        "MTU": 9001,
    }


def test_as_the_only_cni() -> None:
    tunnel = chart({"cni": "only"}, monitored=True)
    assert (tunnel["routingMode"], tunnel["tunnelProtocol"]) == ("tunnel", "vxlan")
    assert tunnel["ipam"]["operator"]["clusterPoolIPv4PodCIDRList"] == ["100.64.0.0/14"]
    assert tunnel["prometheus"]["serviceMonitor"] == {"enabled": True, "trustCRDsExist": True}
    native = {"cni": "only", "routing": "native", "nativeCidr": "10.0.0.0/8"}
    replaced = chart({**native, "kubeProxy": "replaced", "apiServer": {"host": "api.example.org"}, "strict": True})
    assert replaced["kubeProxyReplacement"] == "true"
    assert (replaced["k8sServiceHost"], replaced["k8sServicePort"]) == ("api.example.org", 443)
    assert replaced["ipv4NativeRoutingCIDR"] == "10.0.0.0/8"
    assert replaced["autoDirectNodeRoutes"] is True
    assert replaced["encryption"]["strictMode"]["ingress"]["enabled"] is True


def test_chart_accepts_every_value(chart_defaults: ChartDefaults) -> None:
    defaults = chart_defaults("cilium")
    native = {"cni": "only", "routing": "native", "nativeCidr": "10.0.0.0/8", "mtu": 9001}
    for cilium in ({}, {"cni": "only"}, {**native, "kubeProxy": "replaced", "apiServer": {"host": "a"}}):
        assert list(check_values(chart(cilium, monitored=True), defaults)) == []


def test_the_versions_of_the_standards_are_pinned() -> None:
    labels = make_namespace("x", privileged=False)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    assert labels["pod-security.kubernetes.io/enforce-version"] == "v1.34"
    tenant = make_tenant_namespace("nlp", Tenant(), None)["metadata"]
    assert {
        tenant["labels"][f"pod-security.kubernetes.io/{mode}-version"] for mode in ("enforce", "audit", "warn")
    } == {"v1.34"}
    assert "annotations" not in tenant


def test_the_reason_of_a_privileged_tenant_is_on_its_namespace() -> None:
    meta = make_tenant_namespace("nlp", Tenant.model_validate({"podSecurity": "privileged"}), REASON)["metadata"]
    assert meta["annotations"] == {"inferstack.dev/pod-security-exception": REASON}


def test_the_guard_denies_and_looks_at_namespaces_only() -> None:
    policy, binding = builders.make_guard()
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    assert (rule["resources"], rule["operations"]) == (["namespaces"], ["CREATE", "UPDATE"])
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}


def test_by_default_the_mesh_encrypts_and_must() -> None:
    plain = settings()
    assert (plain.encryption.mode, plain.encryption.required, plain.pod_security.guard) == ("mtls", True, True)
