"""Addresses for Services of type LoadBalancer."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.simulators.nodes.load_balancer import DOMAIN, wanted_status

NAME = f"gateway-istio-ingress.{DOMAIN}"


def service(kind: str = "LoadBalancer", shown: list[Any] | None = None, **meta: Any) -> dict[str, Any]:
    """Return a Service as the API server holds it."""
    status = {"loadBalancer": {"ingress": shown} if shown else {}}
    return {
        "metadata": {"name": "gateway", "namespace": "istio-ingress", **meta},
        "spec": {"type": kind},
        "status": status,
    }


def test_load_balancer_gets_hostname_that_never_resolves() -> None:
    assert wanted_status(service()) == {"loadBalancer": {"ingress": [{"hostname": NAME}]}}
    assert NAME.endswith(".invalid")


@pytest.mark.parametrize(
    "given",
    [
        service("ClusterIP"),
        service(shown=[{"hostname": NAME}]),
        service(deletionTimestamp="2026-01-01T00:00:00Z"),
    ],
)
def test_service_that_needs_no_address_is_unchanged(given: dict[str, Any]) -> None:
    assert wanted_status(given) is None


def test_foreign_address_is_replaced() -> None:
    assert wanted_status(service(shown=[{"ip": "192.0.2.1"}])) is not None
