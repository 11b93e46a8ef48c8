"""InferenceJobs with predictive scaling, as returned by the API server."""

from __future__ import annotations

from typing import Any

from inferstack.api import InferenceJobSpec
from inferstack.apimachinery.objects import Object


def make_job(
    name: str = "chat", *, replicas: int = 2, gpus: int = 1, min_replicas: int = 1, max_replicas: int = 20, **rest: Any
) -> Object:
    """Return a job of a language model; ``predictive`` extends that section, other arguments the spec."""
    resources = {"nvidia.com/gpu": gpus}
    predictive = {"slo": {"milliseconds": 2000}, **rest.pop("predictive", {})}
    autoscale = {
        "minReplicas": min_replicas,
        "maxReplicas": max_replicas,
        "metrics": [{"type": "QueueDepth", "target": 5}],
        "predictive": predictive,
    }
    return {
        "apiVersion": "deepseek.ai/v1",
        "kind": "InferenceJob",
        "metadata": {
            "name": name,
            "namespace": "ml",
            "uid": f"uid-{name}",
            "resourceVersion": "7",
            "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "model": "meta-llama/Llama-3.1-8B",
            "replicas": replicas,
            "resources": {"requests": dict(resources), "limits": dict(resources)},
            "autoscale": autoscale,
            **rest,
        },
    }


def parsed(job: Object) -> InferenceJobSpec:
    """Return the parsed spec of a job."""
    return InferenceJobSpec.model_validate(job["spec"])
