"""EnvoyFilters for features of Envoy that have no field in Istio's API.

Each value is a fragment of Envoy's configuration. Nothing validates it before Envoy, and unknown names are dropped
silently. The tests compare each fragment with Envoy's API, field by field.

The filters are in the namespaces of the callers (tenants and gateway). In Istio's root namespace they would change all
other proxies in the mesh too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from components.mesh import proxies
from components.mesh.objects import SERVICE_PORT, Job, host_of, make
from components.mesh.settings import Ejection, MeshSettings, PeakEwma
from inferstack.apimachinery.objects import Object

Context = Literal["SIDECAR_OUTBOUND", "GATEWAY"]

_API = "networking.istio.io/v1alpha3"
_CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
_ROUTER = "envoy.filters.http.router"
_LB_NAME = "envoy.load_balancing_policies.peak_ewma"
_LB_TYPE = "type.googleapis.com/envoy.extensions.load_balancing_policies.peak_ewma.v3alpha.PeakEwma"
_FILTER_NAME = "envoy.filters.http.peak_ewma"
_FILTER_TYPE = "type.googleapis.com/envoy.extensions.filters.http.peak_ewma.v3alpha.PeakEwmaConfig"


def make_filters(settings: MeshSettings, namespace: str, context: Context, jobs: Sequence[Job]) -> list[Object]:
    """Return the EnvoyFilters of a namespace's proxies.

    Args:
        settings: the role's settings.
        namespace: of the calling proxies.
        context: whether they are sidecars or a gateway.
        jobs: the stack's jobs that they call.
    """
    filters = []
    if settings.by_failures:
        filters.append(make_failure_percentage(settings.ejection, namespace, context))
    if settings.peak_ewma and jobs:
        filters.append(make_peak_ewma(settings.traffic.peak_ewma, namespace, context, jobs))
    return filters


def make_failure_percentage(ejection: Ejection, namespace: str, context: Context) -> Object:
    """Return the ejection of replicas by their share of failures.

    The match by port excludes clusters without a port, such as PassthroughCluster. Envoy only counts unless
    ``enforcing_failure_percentage`` is set, whose default is 0.
    """
    share = ejection.failure_percentage
    value = {
        "outlier_detection": {
            "failure_percentage_threshold": share.threshold,
            "enforcing_failure_percentage": 100,
            "failure_percentage_minimum_hosts": share.minimum_hosts,
            "failure_percentage_request_volume": share.request_volume,
            # As in the DestinationRule, for clusters without one: Envoy's defaults differ.
            "consecutive_5xx": ejection.consecutive_5xx,
            "interval": f"{ejection.interval_seconds}s",
            "base_ejection_time": f"{ejection.base_seconds}s",
            "max_ejection_percent": ejection.max_percent,
            "enforcing_success_rate": 0,
        }
    }
    patch = _cluster_patch(context, {"portNumber": SERVICE_PORT}, value)
    return make(_API, "EnvoyFilter", namespace, "failure-percentage", {"configPatches": [patch]})


def make_peak_ewma(settings: PeakEwma, namespace: str, context: Context, jobs: Sequence[Job]) -> Object:
    """Return the balancing by time to the first byte: a filter that measures it, and the policy of each job's cluster.

    Each job is named: with this policy Envoy refuses a cluster that finds its hosts in another way than by endpoints
    (headless Services, hosts outside), and with it the proxy's whole configuration. Proxies of releases without the
    extension are left out for the same reason.
    """
    listener = {"filterChain": {"filter": {"name": _CONNECTION_MANAGER, "subFilter": {"name": _ROUTER}}}}
    measure = {
        "applyTo": "HTTP_FILTER",
        "match": {"context": context, "listener": listener},
        "patch": {
            "operation": "INSERT_BEFORE",
            "value": {"name": _FILTER_NAME, "typed_config": {"@type": _FILTER_TYPE}},
        },
    }
    policy = {
        "name": _LB_NAME,
        "typed_config": {
            "@type": _LB_TYPE,
            "decay_time": f"{settings.decay_seconds}s",
            "default_rtt": f"{settings.default_milliseconds / 1000:g}s",
        },
    }
    value = {"load_balancing_policy": {"policies": [{"typed_extension_config": policy}]}}
    patches = [measure, *(_cluster_patch(context, {"service": host_of(job)}, value) for job in jobs)]
    for patch in patches:
        patch["match"]["proxy"] = {"proxyVersion": f"{proxies.PEAK_EWMA.pattern}.*"}
    return make(_API, "EnvoyFilter", namespace, "peak-ewma", {"configPatches": patches})


def _cluster_patch(context: Context, cluster: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    return {
        "applyTo": "CLUSTER",
        "match": {"context": context, "cluster": cluster},
        "patch": {"operation": "MERGE", "value": value},
    }
