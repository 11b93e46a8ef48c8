"""InferenceJobs of the stack: validation and manifests."""

from __future__ import annotations

from collections.abc import Collection

from components.inference.settings import InferenceSettings, Job
from components.settings import validate
from inferstack.api import InferenceJob
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError

_KEY = "inferstack:inference.jobs"


def make_jobs(settings: InferenceSettings, tenants: Collection[str]) -> list[Object]:
    """Return the InferenceJob objects of the stack.

    Args:
        settings: the role's settings.
        tenants: names of the tenants' namespaces.

    Raises:
        UserError: a job is invalid, a duplicate or outside the tenants' namespaces; the message names its key.
    """
    manifests: list[Object] = []
    first_index: dict[tuple[str, str], int] = {}
    for index, job in enumerate(settings.jobs):
        key = f"{_KEY}[{index}]"
        namespace = _namespace(key, job, settings, tenants)
        identity = (namespace, job.metadata.name)
        if identity in first_index:
            raise UserError(
                f'{key}.metadata.name: "{job.metadata.name}" in namespace {namespace} is also '
                f"{_KEY}[{first_index[identity]}]; rename one."
            )
        first_index[identity] = index
        manifests.append(make_job(key, job, namespace, settings))
    return manifests


def make_job(key: str, job: Job, namespace: str, settings: InferenceSettings) -> Object:
    """Return an InferenceJob with the annotations that make Pulumi wait for it."""
    metadata: Object = {"name": job.metadata.name, "namespace": namespace}
    if job.metadata.labels:
        metadata["labels"] = dict(job.metadata.labels)
    annotations = dict(job.metadata.annotations)
    if settings.wait_for_ready:
        annotations["pulumi.com/waitFor"] = "condition=Ready"
        annotations["pulumi.com/timeoutSeconds"] = str(settings.wait_seconds)
    else:
        annotations["pulumi.com/skipAwait"] = "true"
    # Foreground deletion waits for the garbage collector, which discovers a new kind such as this CRD only after
    # half a minute. Owned objects are deleted either way: by the collector, the operator or with the namespace.
    annotations.setdefault("pulumi.com/deletionPropagationPolicy", "background")
    metadata["annotations"] = annotations
    manifest = {"apiVersion": "deepseek.ai/v1", "kind": "InferenceJob", "metadata": metadata, "spec": job.spec}
    validate(InferenceJob, manifest, key)
    return manifest


def _namespace(key: str, job: Job, settings: InferenceSettings, tenants: Collection[str]) -> str:
    chosen = job.metadata.namespace or settings.job_namespace
    if chosen is None:
        if len(tenants) != 1:
            raise UserError(
                f"{key}.metadata.namespace: is required, as the stack has {len(tenants)} tenants; "
                "or set inferstack:inference.jobNamespace."
            )
        return next(iter(tenants))
    if chosen not in tenants:
        where = f"{key}.metadata.namespace" if job.metadata.namespace else "inferstack:inference.jobNamespace"
        raise UserError(f'{where}: no tenant "{chosen}"; there are {", ".join(sorted(tenants)) or "none"}.')
    return chosen
