"""Names, labels and annotations of the objects that a job owns."""

from __future__ import annotations

from typing import Final

from inferstack.api import InferenceJob, constants
from inferstack.apimachinery.labels import APP_NAME, COMPONENT, INSTANCE, JOB, MANAGED_BY, PART_OF, PLATFORM
from inferstack.apimachinery.objects import Object

MANAGER: Final = "inferstack-operator"
"""Field manager of the operator's writes."""
SCALER: Final = "inferstack-scaler"
"""Field manager of the predictive scaler's writes."""
CHILDREN: Final = f"{JOB},{MANAGED_BY}={MANAGER}"
"""Selector of the children of all jobs."""
SERIES_JOB: Final = "inferencejob"
"""Label of each series of an inference pod: the job that the pod belongs to."""
SERIES_RUNTIME: Final = "runtime"
"""Label of each series of an inference pod: the server that it runs."""
SPEC_REPLICAS: Final = "inferstack.dev/spec-replicas"
"""Annotation of a Deployment: spec.replicas of the job when the Deployment was last written."""
CACHE: Final = "inferstack.dev/cache"
"""Annotation of a Deployment whose replicas mount a Dataset: `datasets.identity`."""
COLD: Final = "inferstack.dev/started-cold"
"""Annotation of a Deployment that was started without its Dataset: the job's generation at that time."""
HASH: Final = "inferstack.dev/applied"
"""Annotation of a child: hash of the object as last written."""


def make_labels(job: InferenceJob, runtime: str) -> dict[str, str]:
    """Return the labels of a job's objects."""
    return {
        APP_NAME: runtime,
        INSTANCE: job.metadata["name"],
        COMPONENT: "inference",
        PART_OF: PLATFORM,
        MANAGED_BY: MANAGER,
        JOB: job.metadata["name"],
    }


def make_metadata(job: InferenceJob, runtime: str) -> Object:
    """Return the metadata of a child: name, labels, and the job as its only owner."""
    owner = {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND,
        "name": job.metadata["name"],
        "uid": job.metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": job.metadata["name"],
        "namespace": job.metadata["namespace"],
        "labels": make_labels(job, runtime),
        "ownerReferences": [owner],
    }
