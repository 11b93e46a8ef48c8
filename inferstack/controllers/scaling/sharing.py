"""Jobs that share GPUs: who may have how many, by `inferstack.scaling.pool`. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from inferstack.controllers.scaling.deciding import Made
from inferstack.controllers.scaling.status import Trouble
from inferstack.scaling import pool
from inferstack.scaling.model import Decision, Reason


@dataclass(frozen=True)
class Member:
    """What a job brings into the sharing."""

    resource: str
    """The GPU or slice that it asks for."""
    gpus: int
    """Of one replica."""
    least: int
    """Replicas that it keeps, whatever others need: its minReplicas."""
    priority: int
    held: int
    """Replicas that it has now; they stay its own while nothing is decided on it."""
    warm: int = 0
    """Replicas that it wants beyond its need."""


def shared(
    said: Mapping[str, Made | Trouble], members: Mapping[str, Member], gpus: Mapping[str, int]
) -> dict[str, Made | Trouble]:
    """Return the decisions, none above its job's share of the GPUs.

    What nobody needs each of the jobs may take, as its load rises; while one is short there is no such rest.

    Args:
        said: by namespace/name.
        members: the same jobs.
        gpus: to share, by resource.
    """
    result = dict(said)
    by_pool: dict[str, list[str]] = defaultdict(list)
    for key in said:
        by_pool[members[key].resource].append(key)
    for resource, keys in by_pool.items():
        shares = pool.share([_claim(key, said[key], members[key]) for key in keys], gpus.get(resource, 0))
        for key in keys:
            word, member = said[key], members[key]
            rest = 0 if shares.short else shares.free // member.gpus
            most = max(shares.replicas[key] + rest, member.least)
            if isinstance(word, Made):
                result[key] = replace(word, decision=_capped(word.decision, most))
    return result


def _capped(decision: Decision, most: int) -> Decision:
    made = decision.capped(most)
    if decision.min_replicas <= most or decision.replicas == 0:
        return made
    told = f"{max(decision.min_replicas, decision.needed)} replicas are needed, the pool grants {most}"
    return replace(made, reason=Reason.BUDGET, sentence=told)


def _claim(key: str, word: Made | Trouble, member: Member) -> pool.Claim:
    if isinstance(word, Trouble):
        return pool.Claim(key, member.gpus, member.held, 0, member.priority, member.held)
    if word.decision.replicas == 0:
        return pool.Claim(key, member.gpus, 0, 0, member.priority, member.held)
    wanted = word.decision.min_replicas
    warm = min(member.warm, max(wanted - member.least, 0))
    return pool.Claim(key, member.gpus, wanted - warm, warm, member.priority, member.held)
