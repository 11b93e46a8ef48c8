"""The objects of the security role, as pure functions."""

from __future__ import annotations

import datetime as dt
from typing import Any

from components.addon.catalogue import AddonName
from components.objects import LABELS
from components.security.settings import Cilium, Cni, KubeProxy, Routing, SecuritySettings
from components.tenancy.builders import (
    EXCEPTION,
)
from inferstack.apimachinery.labels import TENANT
from inferstack.apimachinery.objects import Object

GUARD = "inferstack-tenant-pod-security"
"""The policy and its binding."""
_ENFORCE = "pod-security.kubernetes.io/enforce"
_API = "admissionregistration.k8s.io/v1"


def make_charts(settings: SecuritySettings, *, monitored: bool) -> dict[AddonName, dict[str, Any]]:
    """Return Cilium with its chart values if it encrypts, else nothing.

    Args:
        settings: the role's settings.
        monitored: whether the API server serves the Prometheus operator's kinds, so that charts may bring monitors.
    """
    if not settings.wireguard:
        return {}
    # The chart checks for Prometheus' kinds during rendering; the order of roles ensures that they exist.
    monitor = {"enabled": monitored, "serviceMonitor": {"enabled": monitored, "trustCRDsExist": monitored}}
    cilium = settings.cilium
    values: dict[str, Any] = {
        "encryption": {
            "enabled": True,
            "type": "wireguard",
            "nodeEncryption": cilium.node_encryption,
            "strictMode": {"ingress": {"enabled": cilium.strict}},
        },
        "kubeProxyReplacement": "true" if cilium.kube_proxy is KubeProxy.REPLACED else "false",
        "prometheus": monitor,
        **(_chained() if cilium.cni is Cni.AWS else _alone(cilium)),
    }
    if cilium.api_server is not None:
        values |= {"k8sServiceHost": cilium.api_server.host, "k8sServicePort": cilium.api_server.port}
    if cilium.mtu is not None:
        values["MTU"] = cilium.mtu
    return {"cilium": values}


def _chained() -> dict[str, Any]:
    """Return values for chaining to the AWS VPC CNI, which routes and masquerades."""
    cni = {
        "chainingMode": "aws-cni",
        "exclusive": False,
        # Otherwise pods use the MTU of the interface, and encryption fragments each full packet.
        "enableRouteMTUForCNIChaining": True,
    }
    return {
        "cni": cni,
        "enableIPv4Masquerade": False,
        "routingMode": "native",
        "endpointRoutes": {"enabled": True},
    }


def _alone(cilium: Cilium) -> dict[str, Any]:
    """Return values with Cilium as the only CNI."""
    values: dict[str, Any] = {
        "cni": {"exclusive": True},
        "ipam": {"mode": "cluster-pool", "operator": {"clusterPoolIPv4PodCIDRList": [cilium.pod_cidr]}},
        "routingMode": cilium.routing.value,
    }
    if cilium.routing is Routing.TUNNEL:
        return {**values, "tunnelProtocol": "vxlan"}
    # Nodes in the same network install direct routes to each other's pods.
    return {**values, "ipv4NativeRoutingCIDR": cilium.native_cidr, "autoDirectNodeRoutes": True}


def make_rules(settings: SecuritySettings, today: dt.date) -> list[tuple[Object, Object]]:
    """Return the policies by which the API server enforces the rules, each with its binding.

    Args:
        settings: the role's settings.
        today: the date that decides whether an exception has expired.
    """
    # cel-python takes half a second to import, and only the program itself needs it.
    from inferstack.policy.admission import make_policies  # noqa: PLC0415  # see above

    return make_policies(settings.policies, today, tenant_label=TENANT, labels=LABELS)


def make_guard() -> tuple[Object, Object]:
    """Return the policy, with its binding, by which the API server rejects a lower level of a tenant without a reason.

    A namespace that had the tenant label before the change counts too, so that removing the label does not evade the
    policy. The reason is an annotation of the namespace and is deleted with it, so no stale list of exceptions remains.
    """
    labels = f"has(object.metadata.labels) && '{_ENFORCE}' in object.metadata.labels"
    notes = f"has(object.metadata.annotations) && '{EXCEPTION}' in object.metadata.annotations"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "objectSelector": {"matchExpressions": [{"key": TENANT, "operator": "Exists"}]},
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["namespaces"],
                }
            ],
        },
        "variables": [
            {"name": "level", "expression": f"{labels} ? object.metadata.labels['{_ENFORCE}'] : ''"},
            {"name": "reason", "expression": f"{notes} ? object.metadata.annotations['{EXCEPTION}'] : ''"},
        ],
        "validations": [
            {
                "expression": (
                    "variables.level in ['restricted', 'baseline'] || "
                    "(variables.level == 'privileged' && variables.reason.size() >= 10)"
                ),
                "message": (
                    f"A tenant's namespace holds its pods to restricted or baseline (label {_ENFORCE}); privileged "
                    f"needs a reason in the annotation {EXCEPTION}, which "
                    "inferstack:security.podSecurity.exceptions sets."
                ),
                "reason": "Forbidden",
            }
        ],
    }
    meta = {"name": GUARD, "labels": LABELS}
    binding = {"policyName": GUARD, "validationActions": ["Deny"]}
    return (
        {"apiVersion": _API, "kind": "ValidatingAdmissionPolicy", "metadata": meta, "spec": spec},
        {"apiVersion": _API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": meta, "spec": binding},
    )
