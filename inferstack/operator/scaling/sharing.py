"""Jobs that share GPUs: who may have how many. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from inferstack.operator.scaling.deciding import Made
from inferstack.operator.scaling.status import Trouble


@dataclass(frozen=True)
class Claim:
    """What a job brings into the sharing."""

    resource: str
    """The GPU or slice that it asks for."""
    gpus: int
    """Of one replica."""
    least: int
    """Replicas that it keeps, whatever others need: its minReplicas."""
    priority: int
    holds: int
    """Replicas that it has now; they stay its own while nothing is decided on it."""


def shared(
    said: Mapping[str, Made | Trouble], claims: Mapping[str, Claim], pools: Mapping[str, int]
) -> dict[str, Made | Trouble]:
    """Return the decisions, none above its job's share of the GPUs.

    Each job keeps its minReplicas. What is left goes to the jobs by priority, to each what it needs, among equals by
    name; what nobody needs each of them may take, as its load rises.

    Args:
        said: by namespace/name.
        claims: of the same jobs.
        pools: GPUs to share, by resource.
    """
    result = dict(said)
    by_pool: dict[str, list[str]] = defaultdict(list)
    for key in said:
        by_pool[claims[key].resource].append(key)
    for resource, keys in by_pool.items():
        for key, most in _grants(said, claims, keys, pools.get(resource, 0)).items():
            word = said[key]
            if isinstance(word, Made):
                result[key] = replace(word, decision=word.decision.capped(most))
    return result


def _grants(
    said: Mapping[str, Made | Trouble], claims: Mapping[str, Claim], keys: Collection[str], pool: int
) -> dict[str, int]:
    wants = {key: max(claims[key].least, _wanted(said[key], claims[key])) for key in keys}
    granted = {key: min(claims[key].least, wants[key]) for key in keys}
    free = pool - sum(granted[key] * claims[key].gpus for key in keys)
    for key in sorted(keys, key=lambda key: (-claims[key].priority, key)):
        more = min(wants[key] - granted[key], max(0, free) // claims[key].gpus)
        granted[key] += more
        free -= more * claims[key].gpus
    return {key: granted[key] + max(0, free) // claims[key].gpus for key in keys}


def _wanted(word: Made | Trouble, claim: Claim) -> int:
    if isinstance(word, Trouble):
        return claim.holds
    if word.decision.replicas == 0:
        return 0
    return word.decision.min_replicas
