"""How each job fares, for people and programs; a pure function."""

from __future__ import annotations

from typing import Any

from rehearsal.load.histogram import Histogram
from rehearsal.load.world import World

_SHARE = 0.95


def make_status(world: World, now: float, late: float) -> dict[str, Any]:
    """Return the state of a simulation.

    Args:
        world: of it.
        now: seconds since the epoch.
        late: seconds that a step takes beyond its time: above 0 the machine is too slow for the load.
    """
    run = world.run
    return {
        "seed": run.seed if run else None,
        "seconds": round(now - run.began, 1) if run else None,
        "lateSeconds": round(late, 3),
        "jobs": [_job(world, name) for name in sorted(world.jobs)],
    }


def _job(world: World, name: str) -> dict[str, Any]:
    job = world.jobs[name]
    servers = [replica.server for replica in job.replicas.values()]
    answers = job.answers()
    return {
        "job": name,
        "arrived": job.arrived,
        "answered": answers.ok,
        "refused": answers.refused,
        "gaveUp": answers.gave_up,
        "running": sum(server.running for server in servers),
        "waiting": sum(server.waiting for server in servers),
        "replicas": sum(replica.takes for replica in job.replicas.values()),
        "loading": sum(not replica.takes for replica in job.replicas.values()),
        "firstTokenSeconds95": _quantile([server.counts.first_token for server in servers]),
        "requestSeconds95": _quantile([server.counts.request for server in servers]),
    }


def _quantile(histograms: list[Histogram]) -> float | None:
    """Return the bound of the bucket with the 95th percentile, over the replicas that there are."""
    if not histograms:
        return None
    together = histograms[0].empty()
    for one in histograms:
        together.add(one)
    return together.quantile(_SHARE)
