"""What the mesh role makes of its settings: charts' values, the objects of the mesh, of tenants and of the gateway."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.addon import catalogue
from components.addon import values as chart_values
from components.mesh import builders, metrics, traffic
from components.mesh.settings import DataPlane, MeshSettings
from components.settings import load_role
from components.tenancy import builders as tenancy
from components.tenancy.settings import Tenant
from inferstack.apimachinery.objects import Object
from inferstack.project import project_root
from tests.chart_values import ChartDefaults

JOBS = [("nlp", "bert"), ("nlp", "llama")]
HOSTS = [
    {"host": "bert.example.com", "job": "nlp/bert", "tlsSecret": "bert-tls"},
    {"host": "llama.internal.example", "job": "nlp/llama", "plaintext": True},
]
EXCEPTIONS = [
    {"tenant": "nlp", "port": 9000, "paths": ["/metrics"], "reason": "Prometheus is outside the mesh"},
    {"tenant": "vision", "port": 8001, "reason": "a client that is not in the mesh yet"},
]
FAILOVER = {
    "failover": [{"from": "us-east-1", "to": "us-west-2"}],
    "standbys": {"west": {"region": "us-west-2", "gateway": "west.example.com"}},
}
AMBIENT = {"dataPlane": "ambient", "ejection": {"failurePercentage": {"enabled": False}}}


def load(given: Object | None = None) -> MeshSettings:
    """Return the role's settings."""
    return load_role("mesh", MeshSettings, given)


def tenant(given: Object | None = None, name: str = "nlp") -> dict[str, Any]:
    """Return a tenant's specs by kind and name."""
    manifests = traffic.make_tenant_traffic(load(given), name, JOBS if name == "nlp" else [])
    assert {manifest["metadata"]["namespace"] for manifest in manifests} == {name}
    return {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest["spec"] for manifest in manifests}


def gateway(given: Object) -> dict[str, Any]:
    """Return the gateway's specs by kind and name."""
    manifests = traffic.make_gateway_traffic(load(given), ["nlp", "vision"], JOBS)
    return {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest["spec"] for manifest in manifests}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["istio-base", "istiod", "istio-cni", "istio-gateway"]),
        (AMBIENT, ["istio-base", "istiod", "istio-cni", "istio-ztunnel", "istio-gateway"]),
        ({"cni": {"enabled": False}, "gateway": {"enabled": False}}, ["istio-base", "istiod"]),
        ({"enabled": False}, []),
    ],
)
def test_the_charts_in_the_order_of_their_installation(given: Object, expected: list[str]) -> None:
    assert list(builders.make_charts(load(given), monitored=True)) == expected


@pytest.mark.parametrize(
    "given", [{}, AMBIENT, FAILOVER, {"gateway": {"crossNetwork": True, "annotations": {"a": "b"}}}]
)
def test_charts_accept_every_value(given: Object, chart_defaults: ChartDefaults) -> None:
    for addon, values in builders.make_charts(load(given), monitored=True).items():
        assert list(chart_values.check(values, chart_defaults(addon), catalogue.load()[addon].free)) == []


def test_injected_proxies_pass_restricted_pod_security() -> None:
    values = builders.make_charts(load(), monitored=True)["istiod"]
    assert values["global"]["proxy"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert values["cni"] == {"enabled": True}


def test_ambient_is_turned_on_in_all_charts_that_have_a_part_in_it() -> None:
    charts = builders.make_charts(load(AMBIENT), monitored=True)
    assert charts["istiod"]["env"] == {"PILOT_ENABLE_AMBIENT": "true"}
    assert charts["istiod"]["meshConfig"]["defaultConfig"]["proxyMetadata"]["ISTIO_META_ENABLE_HBONE"] == "true"
    assert charts["istio-cni"] == {"ambient": {"enabled": True}}


def test_a_standby_is_a_network_with_a_gateway() -> None:
    values = builders.make_charts(load(FAILOVER), monitored=True)["istiod"]
    assert values["global"]["meshNetworks"]["west"]["gateways"] == [{"address": "west.example.com", "port": 15443}]
    assert "meshNetworks" not in builders.make_charts(load(), monitored=True)["istiod"]["global"]


def test_the_way_for_other_clusters_is_open_only_where_asked_for() -> None:
    def ports(given: Object) -> list[int]:
        values = builders.make_charts(load(given), monitored=True)["istio-gateway"]
        return [port["port"] for port in values["service"]["ports"]]

    assert ports({}) == [15021, 80, 443]
    assert ports({"gateway": {"crossNetwork": True}}) == [15021, 80, 443, 15443]
    assert "Gateway/cross-network" not in gateway({})
    (server,) = gateway({"gateway": {"crossNetwork": True}})["Gateway/cross-network"]["servers"]
    assert server["tls"] == {"mode": "AUTO_PASSTHROUGH"}
    assert server["hosts"] == ["*.nlp.svc.cluster.local", "*.vision.svc.cluster.local"]


@pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE", "DISABLE"])
def test_mutual_tls_is_said_for_the_mesh_and_for_each_tenant(mode: str) -> None:
    given = {"mtls": {"mode": mode}}
    mesh = {manifest["kind"]: manifest for manifest in builders.make_mesh(load(given))}["PeerAuthentication"]
    assert (mesh["metadata"]["namespace"], mesh["metadata"]["name"]) == ("istio-system", "default")
    assert mesh["spec"] == tenant(given)["PeerAuthentication/default"] == {"mtls": {"mode": mode}}


def test_a_plain_port_is_an_exception_of_its_tenant_with_its_reason() -> None:
    given = {"mtls": {"exceptions": EXCEPTIONS}}
    settings = load(given)
    manifests = {
        manifest["metadata"]["name"]: manifest for manifest in traffic.make_tenant_traffic(settings, "nlp", [])
    }
    plain = manifests["plain-ports"]
    assert plain["spec"] == {
        "selector": {"matchLabels": {"app.kubernetes.io/component": "inference"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"9000": {"mode": "PERMISSIVE"}},
    }
    assert plain["metadata"]["annotations"]["inferstack.dev/plain-port-9000"] == "Prometheus is outside the mesh"
    # Without an identity a caller passes no other policy, so that it may do this and nothing else.
    (rule,) = manifests["allow-plain-9000"]["spec"]["rules"]
    assert rule == {"to": [{"operation": {"ports": ["9000"], "methods": ["GET"], "paths": ["/metrics"]}}]}
    (whole,) = tenant(given, "vision")["AuthorizationPolicy/allow-plain-8001"]["rules"]
    assert whole == {"to": [{"operation": {"ports": ["8001"]}}]}


def test_who_is_not_named_may_not_call_a_tenant() -> None:
    manifests = tenant()
    policies = {
        key.partition("/")[2]: spec for key, spec in manifests.items() if key.startswith("AuthorizationPolicy/")
    }
    assert policies.pop("default-deny") == {}
    sources = [source["source"] for spec in policies.values() for rule in spec["rules"] for source in rule["from"]]
    assert sources == [{"namespaces": ["nlp"]}, {"namespaces": ["istio-ingress"]}]
    closed = tenant({"gateway": {"enabled": False}})
    assert "AuthorizationPolicy/allow-gateway" not in closed


@pytest.mark.parametrize("mode", ["PERMISSIVE", "DISABLE"])
def test_callers_without_an_identity_are_not_asked_for_one(mode: str) -> None:
    assert not [key for key in tenant({"mtls": {"mode": mode}}) if key.startswith("AuthorizationPolicy")]


def test_how_a_tenants_services_are_called() -> None:
    rule = tenant({"traffic": {"warmupSeconds": 30}})["DestinationRule/jobs"]
    policy = rule["trafficPolicy"]
    assert rule["host"] == "*.nlp.svc.cluster.local"
    assert policy["loadBalancer"] == {"simple": "LEAST_REQUEST", "warmup": {"duration": "30s"}}
    assert policy["connectionPool"]["tcp"] == {"maxConnections": 1024, "connectTimeout": "5s"}
    assert policy["outlierDetection"]["consecutive5xxErrors"] == 5
    assert "outlierDetection" not in tenant({"ejection": {"enabled": False}})["DestinationRule/jobs"]["trafficPolicy"]


def test_under_peak_ewma_the_rest_goes_by_least_request() -> None:
    given = {"traffic": {"loadBalancing": "PEAK_EWMA"}}
    rule = tenant(given)["DestinationRule/jobs"]
    assert rule["trafficPolicy"]["loadBalancer"] == {"simple": "LEAST_REQUEST"}
    assert "EnvoyFilter/peak-ewma" in tenant(given)
    assert "EnvoyFilter/peak-ewma" in gateway(given)
    assert "EnvoyFilter/peak-ewma" not in tenant()


def test_failover_is_an_order_of_regions_and_an_endpoint_of_each_job_in_the_other() -> None:
    manifests = tenant(FAILOVER)
    balancer = manifests["DestinationRule/jobs"]["trafficPolicy"]["loadBalancer"]
    assert balancer["localityLbSetting"] == {"enabled": True, "failover": [{"from": "us-east-1", "to": "us-west-2"}]}
    entries = {key: spec for key, spec in manifests.items() if key.startswith("WorkloadEntry/")}
    assert list(entries) == ["WorkloadEntry/bert-west", "WorkloadEntry/llama-west"]
    assert entries["WorkloadEntry/bert-west"] == {
        "network": "west",
        "locality": "us-west-2",
        # The label by which the job's Service selects its pods, and that the other end takes mutual TLS.
        "labels": {"inferstack.dev/job": "bert", "security.istio.io/tlsMode": "istio"},
    }


def test_a_stream_is_neither_cut_off_nor_begun_twice() -> None:
    (route,) = tenant()["VirtualService/bert"]["http"]
    assert route["timeout"] == "600s"
    assert route["retries"]["attempts"] == 2
    assert "perTryTimeout" not in route["retries"]
    assert set(route["retries"]["retryOn"].split(",")) == {"connect-failure", "refused-stream", "reset-before-request"}
    (bare,) = tenant({"traffic": {"timeoutSeconds": None, "retries": 0}})["VirtualService/bert"]["http"]
    assert "timeout" not in bare
    assert bare["retries"] == {"attempts": 0}


def test_a_job_is_reached_by_its_host_through_the_gateway() -> None:
    manifests = tenant({"hosts": HOSTS})
    bert = manifests["VirtualService/bert"]
    assert bert["hosts"] == ["bert.nlp.svc.cluster.local", "bert.example.com"]
    assert bert["gateways"] == ["mesh", "istio-ingress/inferstack"]
    assert tenant()["VirtualService/bert"]["gateways"] == ["mesh"]
    servers = gateway({"hosts": HOSTS})["Gateway/inferstack"]["servers"]
    assert [(server["port"]["protocol"], server["hosts"], server.get("tls")) for server in servers] == [
        ("HTTP", ["bert.example.com"], {"httpsRedirect": True}),
        (
            "HTTPS",
            ["bert.example.com"],
            {"mode": "SIMPLE", "credentialName": "bert-tls", "minProtocolVersion": "TLSV1_2"},
        ),
        ("HTTP", ["llama.internal.example"], None),
    ]
    names = [server["port"]["name"] for server in servers]
    assert len(names) == len(set(names))


def test_without_a_gateway_nothing_is_made_for_it() -> None:
    assert gateway({"gateway": {"enabled": False}}) == {}


def test_in_ambient_no_tenant_has_a_filter_of_envoys() -> None:
    assert not [key for key in tenant(AMBIENT) if key.startswith("EnvoyFilter/")]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("errors", {"filter": {"expression": "response.code >= 500 || response.code == 0"}}),
        ("all", {}),
        ("none", {"disabled": True}),
    ],
)
def test_what_is_logged(log: str, expected: Object) -> None:
    spec = builders.make_telemetry(load({"telemetry": {"accessLog": log}}))
    assert spec["accessLogging"] == [{"providers": [{"name": "envoy"}], **expected}]
    assert spec["metrics"] == [{"providers": [{"name": "prometheus"}]}]


def test_prometheus_looks_at_istiod_and_at_the_proxies_of_tenants_and_gateway() -> None:
    def looked_at(given: Object) -> dict[str, Any]:
        manifests = builders.make_monitors(load(given), ["nlp"])
        return {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest["spec"] for manifest in manifests}

    sidecar = looked_at({})
    assert sidecar["PodMonitor/istio-proxies"]["namespaceSelector"] == {"matchNames": ["istio-ingress", "nlp"]}
    assert sidecar["ServiceMonitor/istiod"]["selector"] == {"matchLabels": {"istio": "pilot"}}
    ambient = looked_at(AMBIENT)
    assert ambient["PodMonitor/istio-proxies"]["namespaceSelector"] == {"matchNames": ["istio-ingress"]}
    assert "PodMonitor/ztunnel" in ambient
    assert "PodMonitor/ztunnel" not in sidecar


def test_the_label_that_brings_a_tenant_into_the_mesh() -> None:
    assert builders.namespace_labels(load()) == {"istio-injection": "enabled"}
    assert builders.namespace_labels(load(AMBIENT)) == {"istio.io/dataplane-mode": "ambient"}
    assert builders.namespace_labels(load({"enabled": False})) == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"istiod": ("Egress", [15012]), "mesh-metrics": ("Ingress", [15090]), "gateway": ("Ingress", [])}),
        (AMBIENT, {"mesh-probes": ("Ingress", []), "gateway": ("Ingress", [])}),
        ({"gateway": {"enabled": False}}, {"istiod": ("Egress", [15012]), "mesh-metrics": ("Ingress", [15090])}),
        (
            {**FAILOVER, "gateway": {"enabled": False}},
            {"istiod": ("Egress", [15012]), "mesh-metrics": ("Ingress", [15090]), "standby": ("Egress", [15443])},
        ),
        ({"enabled": False}, {}),
    ],
)
def test_a_tenants_closed_network_lets_the_mesh_through_and_no_more(given: Object, expected: Object) -> None:
    peers = builders.tenant_peers(load(given), monitored_from="monitoring")
    assert {peer.name: (peer.direction, list(peer.ports)) for peer in peers} == expected
    before = tenancy.make_tenant("nlp", Tenant(), {"k8s-app": "kube-dns"})
    after = tenancy.make_tenant("nlp", Tenant(), {"k8s-app": "kube-dns"}, peers=peers)
    added = [policy for policy in after if policy not in before]
    assert {policy["metadata"]["name"] for policy in added} == {f"allow-{name}" for name in expected}
    # What names nobody and no port would open the network to everyone.
    for policy in added:
        (side,) = policy["spec"]["policyTypes"]
        (rule,) = policy["spec"][side.lower()]
        assert rule


def test_a_peer_is_its_namespace_or_its_network_and_its_ports() -> None:
    def rule(peer: tenancy.Peer) -> Any:
        return tenancy.make_peer_policy("nlp", peer)["spec"]

    assert rule(tenancy.Peer("x", "Ingress", namespace="a", ports=(1, 2))) == {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "a"}}}],
                "ports": [{"protocol": "TCP", "port": 1}, {"protocol": "TCP", "port": 2}],
            }
        ],
    }
    assert rule(tenancy.Peer("x", "Egress", cidr="10.0.0.0/8"))["egress"] == [
        {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    ]


def test_a_namespaces_labels_are_kept_beside_those_of_the_mesh() -> None:
    labels = builders.namespace_labels(load())
    plain, *_ = tenancy.make_tenant("nlp", Tenant(), {"k8s-app": "kube-dns"})
    meshed, *_ = tenancy.make_tenant("nlp", Tenant(), {"k8s-app": "kube-dns"}, labels=labels)
    assert meshed["metadata"]["labels"] == {**plain["metadata"]["labels"], **labels}


@pytest.mark.parametrize("data_plane", DataPlane)
def test_core_metrics_are_recorded_of_what_the_proxies_keep(data_plane: DataPlane) -> None:
    group = metrics.make_rule(data_plane, 15)["spec"]["groups"][0]
    assert len({rule["record"] for rule in group["rules"]}) == len(group["rules"])
    matcher = [re.compile(expression) for expression in metrics.make_stats_matcher()["inclusionRegexps"]]
    for metric in metrics.CORE:
        sources = metric.sources(data_plane)
        assert sources, metric.name
        for name in sources:
            if name not in metrics.STANDARD:
                # As Envoy calls it, with the cluster's name as istiod makes it; Envoy matches the whole of it.
                stat = name.removeprefix("envoy_cluster_").replace("outlier_detection_", "outlier_detection.")
                full = f"cluster.outbound|80||bert.nlp.svc.cluster.local;.{stat}"
                assert any(expression.fullmatch(full) for expression in matcher), name


def test_what_no_rule_needs_is_not_kept_by_the_proxies() -> None:
    matcher = [re.compile(expression) for expression in metrics.make_stats_matcher()["inclusionRegexps"]]
    for stat in ("outbound|80||a.b.svc.cluster.local;.upstream_cx_total", "inbound|8080||;.upstream_rq_active"):
        assert not any(expression.fullmatch(f"cluster.{stat}") for expression in matcher)


def test_the_name_of_a_cluster_tells_whose_service_it_is() -> None:
    (in_flight,) = [metric for metric in metrics.CORE if metric.name == "mesh:requests_in_flight:sum"]
    expression = in_flight.expression(DataPlane.SIDECAR)
    # PromQL reads two backslashes in quotes as one.
    (pattern,) = set(re.findall(r'"cluster_name", "([^"]+)"', expression))
    match = re.fullmatch(pattern.replace("\\\\", "\\"), "outbound|80||nlp-model-001.nlp.svc.cluster.local")
    assert match
    assert match.groups() == ("nlp-model-001", "nlp")
    assert expression.index('"destination_service_name", "$1"') < expression.index('"$2"')


@pytest.mark.parametrize("metric", metrics.CORE, ids=[manifest.name for manifest in metrics.CORE])
def test_each_metric_is_one_value_for_each_service(metric: metrics.Metric) -> None:
    for data_plane in DataPlane:
        expression = metric.expression(data_plane)
        assert "{http}" not in expression
        assert expression.count("(") == expression.count(")")
        assert expression.count("{") == expression.count("}")
        assert metrics.BY in expression


def test_ambient_counts_requests_at_the_gateway_and_connections_on_the_nodes() -> None:
    by_name = {metric.name: metric for metric in metrics.CORE}
    assert 'source_workload="istio-gateway"' in by_name["mesh:requests:rate1m"].expression(DataPlane.AMBIENT)
    assert by_name["mesh:mtls:ratio1m"].sources(DataPlane.AMBIENT) == ["istio_tcp_connections_opened_total"]
    assert by_name["mesh:mtls:ratio1m"].sources(DataPlane.SIDECAR) == ["istio_requests_total"]


def test_the_page_lists_the_twelve() -> None:
    page = (project_root() / "docs" / "roles" / "mesh.md").read_text()
    table = page.partition("<!-- metrics: ")[2].partition("\n")[2].partition("\n<!-- end of metrics -->")[0]
    expected = []
    for metric in metrics.CORE:
        sources = ", ".join(f"`{name}`" for name in metric.sources(DataPlane.SIDECAR))
        expected.append(f"| `{metric.name}` | {metric.text} | {metric.unit} | {sources} |")
    assert table.splitlines()[2:] == expected
