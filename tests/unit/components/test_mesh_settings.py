"""What the mesh role takes and refuses, each by its full key path."""

from __future__ import annotations

import pytest

from components.mesh import proxies
from components.mesh.checks import check_mesh
from components.mesh.settings import MeshSettings
from components.settings import load_role
from components.tenancy.settings import Tenant
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError

JOBS = [("nlp", "bert")]
WHY = "Prometheus is outside the mesh"
WEST = {"west": {"region": "us-west-2", "gateway": "west.example.com"}}
OVER = [{"from": "us-east-1", "to": "us-west-2"}]
AMBIENT = {"dataPlane": "ambient", "ejection": {"failurePercentage": {"enabled": False}}}


def load(given: Object) -> MeshSettings:
    """Return the role's settings."""
    return load_role("mesh", MeshSettings, given)


def refusal(given: Object, pod_security: str = "restricted", version: str | None = None) -> str:
    """Return the error message for such a stack."""
    with pytest.raises(UserError) as caught:
        check_mesh(load(given), {"nlp": Tenant.model_validate({"podSecurity": pod_security})}, JOBS, version=version)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"hosts": [{"host": "Not_A.Name", "job": "nlp/bert"}]},
            "inferstack:mesh.hosts[0].host: expected a full host name",
        ),
        (
            {"hosts": [{"host": "localhost", "job": "nlp/bert"}]},
            "inferstack:mesh.hosts[0].host: expected a full host name",
        ),
        (
            {"hosts": [{"host": "a.example", "job": "bert"}]},
            "inferstack:mesh.hosts[0].job: expected a job as namespace/name",
        ),
        ({"dataPlane": "sidecars"}, "inferstack:mesh.dataPlane: input should be 'sidecar' or 'ambient'"),
        (
            {"mtls": {"mode": "strict"}},
            "inferstack:mesh.mtls.mode: input should be 'STRICT', 'PERMISSIVE' or 'DISABLE'",
        ),
        (
            {"mtls": {"exceptions": [{"tenant": "nlp", "port": 9000}]}},
            "inferstack:mesh.mtls.exceptions[0].reason: is req",
        ),
        (
            {"mtls": {"exceptions": [{"tenant": "nlp", "port": 9000, "reason": "ok"}]}},
            "inferstack:mesh.mtls.exceptions[0].reason: string should have at least 10 characters",
        ),
        (
            {"mtls": {"exceptions": [{"tenant": "nlp", "port": 0, "reason": WHY}]}},
            "mesh.mtls.exceptions[0].port: input s",
        ),
        (
            {"ejection": {"failurePercentage": {"threshold": 0}}},
            "inferstack:mesh.ejection.failurePercentage.threshold: input should be greater than or equal to 1, got 0",
        ),
        (
            {"ejection": {"failurePercentage": {"threshold": 101}}},
            "inferstack:mesh.ejection.failurePercentage.threshold: input should be less than or equal to 100, got 101",
        ),
        (
            {"traffic": {"loadBalancing": "EWMA"}},
            "inferstack:mesh.traffic.loadBalancing: input should be 'LEAST_REQUEST'",
        ),
        (
            {"traffic": {"timeoutSeconds": "10m"}},
            "inferstack:mesh.traffic.timeoutSeconds: input should be a valid integ",
        ),
        ({"traffic": {"timeout": 600}}, "inferstack:mesh.traffic.timeout: unknown key; did you mean timeoutSeconds?"),
        (
            {"ejection": {"consecutive5Xx": 3}},
            "inferstack:mesh.ejection.consecutive5Xx: unknown key; did you mean conse",
        ),
        ({"failover": [{"from": "a"}]}, "inferstack:mesh.failover[0].to: is required"),
        (
            {"standbys": {"west": {"region": "b", "gateway": "10.0.0.256"}}},
            "mesh.standbys.west.gateway: expected a full h",
        ),
        ({"standbys": {"west": {"region": "b"}}}, "inferstack:mesh.standbys.west.gateway: is required"),
    ],
)
def test_values_that_cannot_be(given: Object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"cni": {"enabled": False}},
            "inferstack:mesh.cni.enabled: without the node agent each pod needs an init container with NET_ADMIN, "
            "which inferstack:tenancy.tenants.nlp.podSecurity restricted refuses; set it to true.",
        ),
        (
            {**AMBIENT, "cni": {"enabled": False}},
            "inferstack:mesh.cni.enabled: ambient ",
        ),
        (
            {"dataPlane": "ambient"},
            "inferstack:mesh.ejection.failurePercentage.enabled: is an EnvoyFilter, and the ztunnel of "
            "inferstack:mesh.dataPlane ambient ",
        ),
        (
            {"mtls": {"exceptions": [{"tenant": "npl", "port": 9000, "reason": WHY}]}},
            "inferstack:mesh.mtls.exceptions[0].tenant: there is no such tenant; did you mean nlp?",
        ),
        (
            {"mtls": {"exceptions": [{"tenant": "nlp", "port": 15090, "reason": WHY}]}},
            "inferstack:mesh.mtls.exceptions[0].port: 15090 is a port of the proxy itself",
        ),
        (
            {"mtls": {"exceptions": [{"tenant": "nlp", "port": 9000, "reason": WHY}] * 2}},
            "inferstack:mesh.mtls.exceptions[1].port: 9000 of nlp is also inferstack:mesh.mtls.exceptions[0]; remove",
        ),
        (
            {
                "mtls": {
                    "exceptions": [
                        {"tenant": "nlp", "port": 9000, "reason": WHY},
                        {"tenant": "nlp", "port": 8080, "reason": WHY, "labels": {"app": "x"}},
                    ]
                }
            },
            "inferstack:mesh.mtls.exceptions[1].labels: only the oldest PeerAuthentication ",
        ),
        (
            {"mtls": {"mode": "PERMISSIVE", "exceptions": [{"tenant": "nlp", "port": 9000, "reason": WHY}]}},
            "inferstack:mesh.mtls.exceptions[0]: with inferstack:mesh.mtls.mode PERMISSIVE ",
        ),
        (
            {
                **AMBIENT,
                "mtls": {"exceptions": [{"tenant": "nlp", "port": 9000, "paths": ["/metrics"], "reason": WHY}]},
            },
            "inferstack:mesh.mtls.exceptions[0].paths: ztunnel ",
        ),
        (
            {"hosts": [{"host": "a.example", "job": "nlp/brt", "tlsSecret": "a"}]},
            'inferstack:mesh.hosts[0].job: the stack has no job "nlp/brt"; did you mean nlp/bert?',
        ),
        (
            {"hosts": [{"host": "a.example", "job": "nlp/bert"}]},
            "inferstack:mesh.hosts[0].tlsSecret: is required: ",
        ),
        (
            {"hosts": [{"host": "a.example", "job": "nlp/bert", "tlsSecret": "a", "plaintext": True}]},
            "inferstack:mesh.hosts[0].plaintext: a.example has a certificate",
        ),
        (
            {"hosts": [{"host": "a.example", "job": "nlp/bert", "tlsSecret": "a"}] * 2},
            "inferstack:mesh.hosts[1].host: a.example is also inferstack:mesh.hosts[0]; remove one.",
        ),
        (
            {"gateway": {"enabled": False}, "hosts": [{"host": "a.example", "job": "nlp/bert", "tlsSecret": "a"}]},
            "inferstack:mesh.hosts[0]: requires the gateway; set inferstack:mesh.gateway.enabled ",
        ),
        ({"gateway": {"maxReplicas": 1}}, "inferstack:mesh.gateway.maxReplicas: 1 is less than minReplicas, 2."),
        (
            {"gateway": {"drainSeconds": 30}},
            "inferstack:mesh.gateway.drainSeconds: a response may take 600 s (inferstack:mesh.traffic.timeoutSeconds)",
        ),
        (
            {"gateway": {"enabled": False, "crossNetwork": True}},
            "inferstack:mesh.gateway.crossNetwork: requires the gateway",
        ),
        (
            {"mtls": {"mode": "DISABLE"}, "gateway": {"crossNetwork": True}},
            "inferstack:mesh.gateway.crossNetwork: identifies the job by the SNI",
        ),
        (
            {"ejection": {"failurePercentage": {"requestVolume": 10}}},
            "inferstack:mesh.ejection.failurePercentage.requestVolume: of 10 requests a single failure is "
            "5% or more, so each failure would eject a replica; use 21 or more.",
        ),
        (
            {"failover": [{"from": "us-west-2", "to": "us-west-2"}], "standbys": WEST},
            "inferstack:mesh.failover[0].to: us-west-2 is the same region",
        ),
        (
            {"failover": [*OVER, {"from": "us-east-2", "to": "us-west-1"}], "standbys": WEST},
            "inferstack:mesh.failover[1].to: no standby of inferstack:mesh.standbys is in us-west-1; did you",
        ),
        (
            {"failover": OVER},
            "inferstack:mesh.failover[0].to: no standby of inferstack:mesh.standbys is in us-west-2; the",
        ),
        ({"standbys": WEST}, "inferstack:mesh.standbys.west: no failover to us-west-2"),
        (
            {"failover": OVER * 2, "standbys": WEST},
            "inferstack:mesh.failover[1].from: us-east-1 is also inferstack:mesh.failover[0]",
        ),
        (
            {"failover": OVER, "standbys": WEST, "ejection": {"enabled": False}},
            "inferstack:mesh.failover: requests move when replicas are ejected, and inferstack:mesh.ejection",
        ),
        (
            {"failover": OVER, "standbys": WEST, "mtls": {"mode": "PERMISSIVE"}},
            "inferstack:mesh.failover: standbys are reached by the name in mutual TLS",
        ),
        ({**AMBIENT, "failover": OVER, "standbys": WEST}, "inferstack:mesh.failover: ztunnel ejects nothing"),
        (
            {"traffic": {"loadBalancing": "PEAK_EWMA"}, "failover": OVER, "standbys": WEST},
            "inferstack:mesh.traffic.loadBalancing: Envoy refuses PEAK_EWMA together with priorities of localities",
        ),
        (
            {"traffic": {"loadBalancing": "PEAK_EWMA", "warmupSeconds": 30}},
            "inferstack:mesh.traffic.warmupSeconds: is not used by PEAK_EWMA",
        ),
        (
            {"traffic": {"loadBalancing": "PEAK_EWMA"}, "ejection": {"enabled": False}},
            "inferstack:mesh.traffic.loadBalancing: a replica that fails at once is the fastest",
        ),
        (
            {**AMBIENT, "traffic": {"loadBalancing": "PEAK_EWMA"}},
            "inferstack:mesh.traffic.loadBalancing: PEAK_EWMA requires sidecars, and inferstack:mesh.dataPlane ",
        ),
        ({"enabled": False, "failover": OVER}, "inferstack:mesh.failover: "),
        (
            {"enabled": False, "hosts": [{"host": "a.example", "job": "nlp/bert", "tlsSecret": "a"}]},
            "inferstack:mesh.hosts: ",
        ),
    ],
)
def test_what_does_not_go_together(given: Object, message: str) -> None:
    # In one sentence, and no other.
    (line,) = refusal(given).splitlines()
    assert line.startswith(message)


def test_an_older_istio_has_no_peak_ewma() -> None:
    given = {"traffic": {"loadBalancing": "PEAK_EWMA"}}
    message = refusal(given, version="1.28.9")
    assert message.startswith(
        "inferstack:mesh.traffic.loadBalancing: the proxy of Istio 1.28.9 is not known to have PEAK"
    )
    check_mesh(load(given), {}, [], version="1.29.0")


def test_the_pinned_istio_has_peak_ewma() -> None:
    assert proxies.has_peak_ewma(proxies.pinned_version())
    assert not proxies.has_peak_ewma("1.300.0")
    assert not proxies.has_peak_ewma("2.30.1")


@pytest.mark.parametrize("level", ["restricted", "baseline"])
def test_init_containers_with_a_capability_are_for_privileged_tenants_only(level: str) -> None:
    assert f"podSecurity {level} refuses" in refusal({"cni": {"enabled": False}}, level)
    check_mesh(load({"cni": {"enabled": False}}), {"nlp": Tenant.model_validate({"podSecurity": "privileged"})}, JOBS)


def test_all_that_is_wrong_is_said_at_once() -> None:
    message = refusal({"gateway": {"maxReplicas": 1}, "failover": OVER, "cni": {"enabled": False}})
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    "given",
    [
        {},
        AMBIENT,
        {"enabled": False},
        {"failover": OVER, "standbys": WEST},
        {"traffic": {"loadBalancing": "PEAK_EWMA"}},
        {"hosts": [{"host": "a.example", "job": "nlp/bert", "plaintext": True}]},
    ],
)
def test_what_goes_together(given: Object) -> None:
    check_mesh(load(given), {"nlp": Tenant()}, JOBS)


@pytest.mark.parametrize(
    ("given", "strict"),
    [({}, True), ({"enabled": False}, False), ({"mtls": {"mode": "PERMISSIVE"}}, False)],
)
def test_strict_is_said_of_a_mesh_that_is_on_and_refuses_plain_text(given: Object, strict: bool) -> None:
    assert load(given).strict is strict
