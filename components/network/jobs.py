"""Network settings of the stack's jobs: placement of replicas, and attached networks."""

from __future__ import annotations

from collections.abc import Sequence

from components.inference.settings import InferenceSettings
from components.network.settings import Sriov
from components.settings import PROJECT
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError

_KEY = f"{PROJECT}:inference.jobs"


def fill_levels(inference: InferenceSettings, levels: Sequence[str]) -> InferenceSettings:
    """Return the settings with the cluster's topology levels in each job whose placement has no levels.

    Raises:
        UserError: a job has a placement, and neither the job nor the role sets topology levels.
    """
    jobs = []
    for index, job in enumerate(inference.jobs):
        placement = job.spec.get("placement")
        if isinstance(placement, dict) and "levels" not in placement:
            if not levels:
                raise UserError(
                    f"{_KEY}[{index}].spec.placement.levels: is required where {PROJECT}:network.topology.levels is "
                    "empty; say there, or here, which node labels name the switches above a node."
                )
            spec = {**job.spec, "placement": {**placement, "levels": list(levels)}}
            jobs.append(job.model_copy(update={"spec": spec}))
        else:
            jobs.append(job)
    return inference.model_copy(update={"jobs": tuple(jobs)})


def check_attachments(sriov: Sriov, jobs: Sequence[Object]) -> None:
    """Check that jobs can be attached to the stack's networks; other networks are not checked.

    Args:
        sriov: settings of the networks.
        jobs: the InferenceJobs, in the order of the stack.

    Raises:
        UserError: a network belongs to another tenant, or the job does not request its device.
    """
    wrong: list[str] = []
    for index, job in enumerate(jobs):
        for place, name in enumerate(job["spec"].get("networks") or ()):
            network = sriov.networks.get(name)
            if network is None:
                continue
            key = f"{_KEY}[{index}].spec"
            if network.tenant != job["metadata"]["namespace"]:
                wrong.append(
                    f"{key}.networks[{place}]: {name} is in the namespace of tenant {network.tenant}, the job in "
                    f"{job['metadata']['namespace']}; make a network for that tenant too."
                )
            elif (device := f"{sriov.resource_prefix}/{network.resource_name}") not in job["spec"]["resources"][
                "limits"
            ]:
                wrong.append(f'{key}.resources.limits["{device}"]: is required, the device of network {name}.')
    if wrong:
        raise UserError("\n".join(wrong))
