"""The objects that a job owns, as pure functions."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction

from inferstack.api import Autoscale, InferenceJob, MetricType, SloMeasure
from inferstack.api.labels import (
    CACHE,
    COLD,
    HASH,
    SPEC_REPLICAS,
    make_labels,
    make_metadata,
)
from inferstack.api.replicas import Limits
from inferstack.api.runtimes import Runtime
from inferstack.apimachinery.labels import JOB
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.quantity import format_quantity
from inferstack.controllers.jobs.datasets import identity
from inferstack.controllers.jobs.podspec import make_pod_spec


def make_deployment(job: InferenceJob, runtime: Runtime, replicas: int, *, mounted: bool = True) -> Object:
    """Return the Deployment.

    Args:
        job: with metadata.name, namespace and uid.
        runtime: as chosen for it.
        replicas: as `replicas.decide` says.
        mounted: whether replicas mount the job's cache, if it has one.
    """
    spec, name = job.spec, job.metadata["name"]
    metadata = make_metadata(job, runtime.name)
    metadata["annotations"] = {SPEC_REPLICAS: str(spec.replicas)}
    labels = make_labels(job, runtime.name)
    if spec.cache and mounted:
        metadata["annotations"][CACHE] = identity(spec.cache)
        # Fluid's webhook then steers the pods to nodes that hold the data.
        labels["fuse.serverful.fluid.io/inject"] = "true"
    elif spec.cache:
        metadata["annotations"][COLD] = str(job.metadata["generation"])
    # Read by Multus, the CNI plugin that attaches additional networks to a pod.
    attachments = {"annotations": {"k8s.v1.cni.cncf.io/networks": ",".join(spec.networks)}} if spec.networks else {}
    return stamped(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": replicas,
                "revisionHistoryLimit": 2,
                # Longer than loading a model takes.
                "progressDeadlineSeconds": runtime.start_seconds + 60,
                # No surge: with scarce GPUs or a quota, a rollout that needs a surplus replica gets stuck.
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 0, "maxUnavailable": spec.disruption.max_unavailable},
                },
                "selector": {"matchLabels": {JOB: name}},
                "template": {
                    "metadata": {"labels": labels, **attachments},
                    "spec": make_pod_spec(name, spec, runtime, spec.cache if mounted else None),
                },
            },
        }
    )


def make_service(job: InferenceJob, runtime: Runtime) -> Object:
    """Return the Service: port 80, and the metrics port if the runtime has a separate one."""
    ports: list[Object] = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    if runtime.metrics_port:
        ports.append({"name": "metrics", "port": runtime.metrics_port, "targetPort": "metrics", "protocol": "TCP"})
    return stamped(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": make_metadata(job, runtime.name),
            "spec": {"type": "ClusterIP", "selector": {JOB: job.metadata["name"]}, "ports": ports},
        }
    )


def make_pdb(job: InferenceJob, runtime: Runtime) -> Object:
    """Return the PodDisruptionBudget."""
    return stamped(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": make_metadata(job, runtime.name),
            "spec": {
                "maxUnavailable": job.spec.disruption.max_unavailable,
                "selector": {"matchLabels": {JOB: job.metadata["name"]}},
                # A replica that is not ready must not block a drain.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        }
    )


def make_hpa(job: InferenceJob, runtime: Runtime, autoscale: Autoscale, allowed: Limits) -> Object:
    """Return the HorizontalPodAutoscaler.

    The predictive scaler's target is added to the job's own metrics. The autoscaler follows the metric that asks for
    most replicas, so the scaler cannot go below the others.

    Raises:
        KeyError: the runtime lacks a metric type; check `unsupported_metrics` first.
    """
    targets = {metric.type: metric.target * 1000 for metric in autoscale.metrics}
    if allowed.target is not None:
        targets[MetricType.OUTSTANDING_REQUESTS] = allowed.target
    metrics = [
        {
            "type": "Pods",
            "pods": {
                "metric": {"name": runtime.metrics[kind]},
                "target": {"type": "AverageValue", "averageValue": format_quantity(Fraction(target, 1000))},
            },
        }
        for kind, target in targets.items()
    ]
    return stamped(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": make_metadata(job, runtime.name),
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": job.metadata["name"]},
                "minReplicas": allowed.low,
                "maxReplicas": allowed.high,
                "metrics": metrics,
                **({"behavior": allowed.behavior} if allowed.behavior else {}),
            },
        }
    )


def make_children(
    job: InferenceJob, runtime: Runtime, replicas: int, allowed: Limits | None, *, mounted: bool = True
) -> list[Object]:
    """Return all objects of a job, those it needs to serve first; arguments: see `make_deployment` and `make_hpa`."""
    deployment = make_deployment(job, runtime, replicas, mounted=mounted)
    children = [deployment, make_service(job, runtime), make_pdb(job, runtime)]
    if job.spec.autoscale and allowed and job.spec.replicas:
        children.append(make_hpa(job, runtime, job.spec.autoscale, allowed))
    return children


def unsupported_metrics(job: InferenceJob, runtime: Runtime) -> list[str]:
    """Return the metric types, and the measure of the service-level objective, that the job's runtime lacks."""
    autoscale = job.spec.autoscale
    if autoscale is None:
        return []
    unknown = [metric.type.value for metric in autoscale.metrics if metric.type not in runtime.metrics]
    measure = autoscale.predictive.slo.measure if autoscale.predictive else None
    tokens = MetricType.TIME_TO_FIRST_TOKEN_MILLISECONDS in runtime.metrics
    if measure is SloMeasure.TIME_TO_FIRST_TOKEN and not tokens:
        unknown.append(measure.value)
    return unknown


def stamped(obj: Object) -> Object:
    """Add the hash of the object to its annotations.

    The comparison of the live with the desired object cannot see that a field is no longer desired; the hash can.
    Replicas are left out: the autoscaler changes them.
    """
    hashed = {**obj, "spec": {key: value for key, value in obj["spec"].items() if key != "replicas"}}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    metadata = obj["metadata"]
    annotations = {**metadata.get("annotations", {}), HASH: digest}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}
