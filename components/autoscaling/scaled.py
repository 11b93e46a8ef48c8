"""ScaledObjects and TriggerAuthentications. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from components.autoscaling.settings import Authentication, AutoscalingSettings, ScaledJob, Trigger
from components.monitoring.builders import JOB_LABEL
from components.objects import LABELS
from inferstack.api import InferenceJobSpec, Metric, MetricType, constants, runtimes
from inferstack.apimachinery.objects import Object

API_VERSION = "keda.sh/v1alpha1"
_HPA_PREFIX = "keda-hpa-"
_NAME_LENGTH = 63
_WAIT_SECONDS = 120
"""KEDA reconciles a new ScaledObject within a second; one that is not ready by then is invalid."""


def make_scaled_objects(
    settings: AutoscalingSettings, specs: Mapping[str, InferenceJobSpec], prometheus_url: str | None
) -> list[Object]:
    """Return the ScaledObjects of the stack's jobs.

    Args:
        settings: settings of the role, checked with `components.autoscaling.checks`.
        specs: specs of the stack's jobs, by namespace/name.
        prometheus_url: Prometheus of the monitoring role; the role's own setting has precedence.
    """
    url = settings.prometheus_url or prometheus_url or ""
    return [make_scaled_object(scaled, specs[scaled.job], url) for scaled in settings.scaled_jobs]


def make_scaled_object(scaled: ScaledJob, spec: InferenceJobSpec, prometheus_url: str) -> Object:
    """Return the ScaledObject of one job; it has the name of the job and scales the job, not its Deployment."""
    namespace, name = scaled.job.split("/")
    pod_metrics = [
        _pod_metric(metric, namespace, name, spec, prometheus_url, at_zero=scaled.min_replicas == 0)
        for metric in scaled.metrics
    ]
    autoscaler: Object = {
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": scaled.scale_up_seconds},
            "scaleDown": {"stabilizationWindowSeconds": scaled.scale_down_seconds},
        }
    }
    if len(_HPA_PREFIX + name) > _NAME_LENGTH:
        # KEDA rejects a HorizontalPodAutoscaler whose name is not a valid label value. The job itself has none.
        autoscaler["name"] = name
    spec_object: Object = {
        "scaleTargetRef": {"apiVersion": constants.API_VERSION, "kind": constants.KIND, "name": name},
        "minReplicaCount": scaled.min_replicas,
        "maxReplicaCount": scaled.max_replicas,
        "advanced": {"horizontalPodAutoscalerConfig": autoscaler},
        "triggers": [*pod_metrics, *(_trigger(trigger, prometheus_url) for trigger in scaled.triggers)],
    }
    if scaled.min_replicas == 0:
        # KEDA warns about these fields otherwise: above zero the HorizontalPodAutoscaler polls the metrics.
        spec_object |= {"pollingInterval": scaled.polling_seconds, "cooldownPeriod": scaled.cooldown_seconds}
    if scaled.fallback:
        spec_object["fallback"] = {
            "failureThreshold": scaled.fallback.failures,
            "replicas": scaled.fallback.replicas,
            "behavior": scaled.fallback.behavior,
        }
    annotations = {
        "pulumi.com/waitFor": "condition=Ready",
        "pulumi.com/timeoutSeconds": str(_WAIT_SECONDS),
        # As for jobs: the garbage collector discovers a new kind only after half a minute.
        "pulumi.com/deletionPropagationPolicy": "background",
    }
    meta = {"name": name, "namespace": namespace, "labels": LABELS, "annotations": annotations}
    return {"apiVersion": API_VERSION, "kind": "ScaledObject", "metadata": meta, "spec": spec_object}


def make_authentication(authentication: Authentication) -> Object:
    """Return a TriggerAuthentication."""
    spec: Object = {}
    if authentication.secrets:
        spec["secretTargetRef"] = [secret.model_dump(by_alias=True) for secret in authentication.secrets]
    if authentication.pod_identity:
        spec["podIdentity"] = {"provider": authentication.pod_identity}
    meta = {"name": authentication.name, "namespace": authentication.namespace, "labels": LABELS}
    return {"apiVersion": API_VERSION, "kind": "TriggerAuthentication", "metadata": meta, "spec": spec}


def _pod_metric(
    metric: Metric, namespace: str, name: str, spec: InferenceJobSpec, url: str, *, at_zero: bool
) -> Object:
    series = runtimes.load().choose(spec).metrics[metric.type]
    of_job = f'{{namespace="{namespace}",{JOB_LABEL}="{name}"}}'
    # The sum over replicas: for AverageValue, the autoscaler divides it by their number.
    query = f"sum({series}{of_job})"
    if metric.type is MetricType.GPU_UTILIZATION_PERCENT:
        # The exporter has the pod but not the job; the metrics of the servers have both.
        query = f"sum({series} and on (namespace, pod) inference_requests_per_second{of_job})"
    return {
        "type": "prometheus",
        "name": series.replace("_", "-"),
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": url,
            "query": query,
            "threshold": str(metric.target),
            # An empty result is a failed measurement, not an idle job; at zero replicas it is expected.
            "ignoreNullValues": "true" if at_zero else "false",
        },
    }


def _trigger(trigger: Trigger, prometheus_url: str) -> Object:
    metadata = dict(trigger.metadata)
    if trigger.type == "prometheus":
        metadata.setdefault("serverAddress", prometheus_url)
    scale_trigger: Object = {"type": trigger.type, "metadata": metadata}
    if trigger.name:
        scale_trigger["name"] = trigger.name
    if trigger.metric_type:
        scale_trigger["metricType"] = trigger.metric_type
    if trigger.authentication:
        scale_trigger["authenticationRef"] = {"name": trigger.authentication}
    if trigger.cluster_authentication:
        scale_trigger["authenticationRef"] = {
            "name": trigger.cluster_authentication,
            "kind": "ClusterTriggerAuthentication",
        }
    return scale_trigger
