"""What a job owns, as pure functions: the desired objects, whole."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction

from inferstack.api import Autoscale, InferenceJob, MetricType, SloMeasure
from inferstack.api.labels import CACHE, COLD, HASH, JOB, SPEC_REPLICAS, Object, make_labels, make_metadata
from inferstack.api.replicas import Limits
from inferstack.api.runtimes import Runtime
from inferstack.apimachinery.quantity import format_quantity
from inferstack.controllers.jobs.cache import identity
from inferstack.controllers.jobs.podspec import make_pod_spec


def make_deployment(job: InferenceJob, runtime: Runtime, replicas: int, *, mounted: bool = True) -> Object:
    """Return the Deployment.

    Args:
        job: with metadata.name, namespace and uid.
        runtime: as chosen for it.
        replicas: as `replicas.decide` says.
        mounted: whether replicas get the job's cache, if it has one.
    """
    spec, name = job.spec, job.metadata["name"]
    metadata = make_metadata(job, runtime.name)
    metadata["annotations"] = {SPEC_REPLICAS: str(spec.replicas)}
    labels = make_labels(job, runtime.name)
    if spec.cache and mounted:
        metadata["annotations"][CACHE] = identity(spec.cache)
        # Has Fluid's webhook look at the pods, which sends them to nodes that hold the data.
        labels["fuse.serverful.fluid.io/inject"] = "true"
    elif spec.cache:
        metadata["annotations"][COLD] = str(job.metadata["generation"])
    # Read by Multus, the CNI plugin that gives a pod more networks than one.
    attachments = {"annotations": {"k8s.v1.cni.cncf.io/networks": ",".join(spec.networks)}} if spec.networks else {}
    return stamped(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": replicas,
                "revisionHistoryLimit": 2,
                # Beyond the loading of a model, with which a rollout is not yet stuck.
                "progressDeadlineSeconds": runtime.start_seconds + 60,
                # No surge: GPUs are few and a quota counts the surplus replica, so a rollout that needs one gets stuck.
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
    """Return the Service: port 80, and the metrics where they have a port of their own."""
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
                # A replica that does not serve anyway must not hold up a drain.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        }
    )


def make_hpa(job: InferenceJob, runtime: Runtime, autoscale: Autoscale, allowed: Limits) -> Object:
    """Return the HorizontalPodAutoscaler.

    A target that the predictive scaler has decided on goes beside the job's own metrics, of which the largest answer
    wins: less than these ask for it cannot hold.

    Raises:
        KeyError: a metric type that the runtime does not have; `unsupported_metrics` tells before.
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
    """Return all objects of a job, what makes it serve first; arguments as of `make_deployment` and `make_hpa`."""
    deployment = make_deployment(job, runtime, replicas, mounted=mounted)
    made = [deployment, make_service(job, runtime), make_pdb(job, runtime)]
    if job.spec.autoscale and allowed and job.spec.replicas:
        made.append(make_hpa(job, runtime, job.spec.autoscale, allowed))
    return made


def unsupported_metrics(job: InferenceJob, runtime: Runtime) -> list[str]:
    """Return the metric types, and the measure of a service level, that the job's runtime does not have."""
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

    The live object is compared with the wanted one field by field, which cannot see that a field is wanted no more; the
    hash can. Replicas are left out: the autoscaler moves them.
    """
    hashed = {**obj, "spec": {key: value for key, value in obj["spec"].items() if key != "replicas"}}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    metadata = obj["metadata"]
    annotations = {**metadata.get("annotations", {}), HASH: digest}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}
