"""How many replicas a job's Deployment shall have now. Pure."""

from __future__ import annotations

from inferstack.api import Autoscale, constants


def bounds(replicas: int, autoscale: Autoscale) -> tuple[int, int]:
    """Return fewest and most replicas under an autoscaler; the most is twice ``replicas`` where the job is silent."""
    low = autoscale.min_replicas
    high = autoscale.max_replicas
    if high is None:
        high = min(max(2 * replicas, low), constants.MAX_REPLICAS)
    return low, high


def decide(replicas: int, autoscale: Autoscale | None, *, applied: int | None, live: int | None) -> int:
    """Return the replicas to write into the Deployment.

    Without an autoscaler, and while the job is paused (0), the job's own number. With one, the live number, which is
    the autoscaler's, held between the bounds; the job's number counts at the start and when a person changes it.

    Args:
        replicas: spec.replicas of the job.
        autoscale: spec.autoscale of the job.
        applied: spec.replicas of the job when the Deployment was last written; None if never.
        live: spec.replicas of the Deployment; None if there is none.
    """
    if autoscale is None or replicas == 0:
        return replicas
    low, high = bounds(replicas, autoscale)
    wanted = replicas if live is None or applied != replicas else live
    return min(max(wanted, low), high)
