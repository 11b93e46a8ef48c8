"""The objects that the jobs controller will create for an InferenceJob, so that a preview checks them as well."""

from __future__ import annotations

from inferstack.apimachinery.objects import Object
from inferstack.policy.resource import Resource, get, has_unknown
from inferstack.tokens import token

JOB = "InferenceJob"


def children(resource: Resource) -> tuple[Resource, ...]:
    """Return the objects that the controller creates for a resource, if it is a job without unknown values.

    A job that the controller cannot plan has none: the API server or the job's status has the reason.
    """
    if resource.kind != JOB or has_unknown(resource.properties):
        return ()
    # Imported here: a preview waits for the start of the pack, but not for imports while the program runs.
    from inferstack.api import runtimes  # noqa: PLC0415
    from inferstack.controllers.jobs.plan import make_plan  # noqa: PLC0415
    from inferstack.controllers.jobs.reasons import ConditionReason  # noqa: PLC0415

    metadata = {**resource.properties["metadata"], "uid": "", "generation": 1}
    planned = make_plan({**resource.properties, "metadata": metadata}, runtimes.load())
    if isinstance(planned, ConditionReason):
        return ()
    return tuple(_resource(child, resource) for child in planned.children(None))


def _resource(child: Object, job: Resource) -> Resource:
    return Resource(
        job.urn,
        token(child["apiVersion"], child["kind"]),
        get(child, "metadata", "name"),
        child,
        parent=job.urn,
        origin=job.urn,
    )
