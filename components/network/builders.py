"""The objects of the network role, as pure functions."""

from __future__ import annotations

import json
from typing import Any

from components.addon.catalogue import AddonName
from components.network.settings import Efa, NetworkSettings, Policy, Pool, Sriov, TenantNetwork
from components.objects import LABELS
from inferstack.apimachinery.labels import RESOURCE_PREFIX
from inferstack.apimachinery.objects import Object

NAMESPACE = "sriov-network-operator"
GROUP = "sriovnetwork.openshift.io/v1"
EFA_RESOURCE = "vpc.amazonaws.com/efa"
"""Annotation of the operator's configuration with the domain of its resources, for which it has no field."""
_BACKGROUND = {"pulumi.com/deletionPropagationPolicy": "background"}


def make_charts(settings: NetworkSettings, *, monitored: bool) -> dict[AddonName, dict[str, Any]]:
    """Return the add-ons that these settings enable, with their chart values.

    Args:
        settings: the role's settings.
        monitored: whether the API server serves the Prometheus operator's kinds, so that charts may bring monitors.
    """
    charts: dict[AddonName, dict[str, Any]] = {}
    if settings.sriov.enabled:
        charts["sriov-network-operator"] = _sriov_values(settings.sriov, monitored=monitored)
    if settings.efa.enabled:
        charts["aws-efa-k8s-device-plugin"] = _efa_values(settings.efa)
    return charts


def _sriov_values(sriov: Sriov, *, monitored: bool) -> dict[str, Any]:
    extra = [f'{name}: "{nic.vendor} {nic.device} {nic.vf_device}"' for name, nic in sriov.extra_nics.items()]
    # The role registers the operator's configuration itself, the same in each mode.
    values: dict[str, Any] = {"operator": {"resourcePrefix": sriov.resource_prefix}}
    if extra:
        values["supportedExtraNICs"] = extra
    if monitored and sriov.feature_gates.get("metricsExporter"):
        # The exporter admits only the Prometheus of the chart kube-prometheus-stack, in the namespace monitoring.
        reader = {"enabled": True, "serviceAccount": "kube-prometheus-stack-prometheus"}
        values["operator"]["metricsExporter"] = {"prometheusOperator": reader}
    return values


def _efa_values(efa: Efa) -> dict[str, Any]:
    values: dict[str, Any] = {
        "tolerations": [each.model_dump(by_alias=True, exclude_none=True) for each in efa.tolerations]
    }
    if efa.instance_types:
        values["supportedInstanceLabels"] = {"values": list(efa.instance_types)}
    if efa.node_selector:
        values["nodeSelector"] = dict(efa.node_selector)
    return values


def make_operator_config(sriov: Sriov) -> Object:
    """Return the operator's configuration; the operator reads only the object with this name."""
    spec: Object = {
        "configDaemonNodeSelector": dict(sriov.node_selector),
        "disableDrain": sriov.disable_drain,
        "configurationMode": sriov.configuration_mode,
        "logLevel": sriov.log_level,
        # Both are admission webhooks and need certificates that the chart does not create.
        "enableInjector": False,
        "enableOperatorWebhook": False,
    }
    if sriov.feature_gates:
        spec["featureGates"] = dict(sriov.feature_gates)
    # It owns the node states. A foreground deletion would wait until the garbage collector knows its kind.
    return _object("SriovOperatorConfig", "default", spec, {RESOURCE_PREFIX: sriov.resource_prefix, **_BACKGROUND})


def make_pool(name: str, pool: Pool) -> Object:
    """Return the SriovNetworkPoolConfig of a group of nodes."""
    spec: Object = {
        "nodeSelector": {"matchLabels": dict(pool.node_selector)},
        "maxUnavailable": pool.max_unavailable,
    }
    if pool.rdma_mode:
        spec["rdmaMode"] = pool.rdma_mode
    return _object("SriovNetworkPoolConfig", name, spec)


def make_policy(name: str, policy: Policy) -> Object:
    """Return the SriovNetworkNodePolicy of a policy."""
    selector = policy.nic_selector.model_dump(by_alias=True, exclude_none=True)
    spec = policy.model_dump(by_alias=True, exclude_none=True)
    # Empty lists select nothing and are omitted.
    spec["nicSelector"] = {
        key: list(value) if isinstance(value, tuple) else value for key, value in selector.items() if value
    }
    return _object("SriovNetworkNodePolicy", name, spec)


def make_network(name: str, network: TenantNetwork, sriov: Sriov) -> Object:
    """Return a network; the operator creates a NetworkAttachmentDefinition of this name in the tenant's namespace.

    InfiniBand has a separate kind and CNI plugin.
    """
    feeding = next(policy for policy in sriov.policies.values() if policy.resource_name == network.resource_name)
    spec: Object = {"resourceName": network.resource_name, "networkNamespace": network.tenant}
    # These three are JSON in a string; metaPlugins is a list without its brackets.
    if network.ipam:
        spec["ipam"] = _json(network.ipam)
    if network.capabilities:
        spec["capabilities"] = _json(network.capabilities)
    if network.meta_plugins:
        spec["metaPlugins"] = ", ".join(map(_json, network.meta_plugins))
    plain = {"vlan", "vlan_qos", "spoof_chk", "trust", "link_state", "min_tx_rate", "max_tx_rate"}
    spec |= network.model_dump(by_alias=True, exclude_none=True, include=plain)
    kind = "SriovIBNetwork" if feeding.link_type == "ib" else "SriovNetwork"
    return _object(kind, name, spec)


def resources(settings: NetworkSettings) -> list[str]:
    """Return the extended resources that pods can request."""
    sriov = settings.sriov
    named = {f"{sriov.resource_prefix}/{policy.resource_name}" for policy in sriov.policies.values() if sriov.enabled}
    return [*sorted(named), *([EFA_RESOURCE] if settings.efa.enabled else [])]


def _object(kind: str, name: str, spec: Object, annotations: dict[str, str] | None = None) -> Object:
    meta: Object = {"name": name, "namespace": NAMESPACE, "labels": LABELS}
    if annotations:
        meta["annotations"] = annotations
    return {"apiVersion": GROUP, "kind": kind, "metadata": meta, "spec": spec}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
