"""Shares GPUs among jobs: caps each decision at the replicas that `inferstack.scaling.pool` grants. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from inferstack.controllers.scaling.decision import JobDecision
from inferstack.controllers.scaling.status import NoDecision
from inferstack.scaling import pool
from inferstack.scaling.model import Decision, Reason


@dataclass(frozen=True)
class PoolMember:
    """A job as a member of the pool of GPUs that it shares."""

    resource: str
    """Its GPU or MIG resource."""
    gpus: int
    """GPUs of one replica."""
    min_replicas: int
    """Replicas that it keeps, whatever others need."""
    priority: int
    held: int
    """Current replicas; a job without a decision keeps them."""
    warm: int = 0
    """Requested replicas beyond its need."""


def share_gpus(
    outcomes: Mapping[str, JobDecision | NoDecision], members: Mapping[str, PoolMember], gpus: Mapping[str, int]
) -> dict[str, JobDecision | NoDecision]:
    """Return the decisions, each capped at its job's share of the GPUs.

    The maximum of each job includes all GPUs that no job needs, so that it can follow a rising load. While any job of
    the pool is short of GPUs, the maximum is the granted share.

    Args:
        outcomes: decisions by namespace/name.
        members: the same jobs as pool members.
        gpus: size of each pool, by resource.
    """
    result = dict(outcomes)
    by_pool: dict[str, list[str]] = defaultdict(list)
    for key in outcomes:
        by_pool[members[key].resource].append(key)
    for resource, keys in by_pool.items():
        allocation = pool.allocate([_claim(key, outcomes[key], members[key]) for key in keys], gpus.get(resource, 0))
        for key in keys:
            outcome, member = outcomes[key], members[key]
            spare = 0 if allocation.short else allocation.free // member.gpus
            limit = max(allocation.replicas[key] + spare, member.min_replicas)
            if isinstance(outcome, JobDecision):
                result[key] = replace(outcome, decision=_cap(outcome.decision, limit))
    return result


def _cap(decision: Decision, limit: int) -> Decision:
    capped = decision.capped(limit)
    if decision.min_replicas <= limit or decision.replicas == 0:
        return capped
    message = f"{max(decision.min_replicas, decision.needed)} replicas are needed, the pool grants {limit}"
    return replace(capped, reason=Reason.BUDGET, message=message)


def _claim(key: str, outcome: JobDecision | NoDecision, member: PoolMember) -> pool.Claim:
    if isinstance(outcome, NoDecision):
        return pool.Claim(key, member.gpus, member.held, 0, member.priority, member.held)
    if outcome.decision.replicas == 0:
        return pool.Claim(key, member.gpus, 0, 0, member.priority, member.held)
    desired = outcome.decision.min_replicas
    warm = min(member.warm, max(desired - member.min_replicas, 0))
    return pool.Claim(key, member.gpus, desired - warm, warm, member.priority, member.held)
