"""The HorizontalPodAutoscaler's algorithm as Kubernetes publishes it, and what KEDA adds to it.

Sources: "Horizontal Pod Autoscaling" (algorithm details, configurable scaling behavior) in the documentation of
Kubernetes, and ``pkg/controller/podautoscaler/{horizontal,replica_calculator}.go`` of Kubernetes 1.34 where the
documentation leaves something open. KEDA: "Scaling Deployments" and the ScaledObject specification of KEDA 2.

It serves three ends: the shadow that no forecast may go below (`inferstack.scaling.plan`), the peers of the benchmark,
and tests that hold our understanding of the executor.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from inferstack.scaling.errors import ScalingError

TOLERANCE = 0.1
"""``--horizontal-pod-autoscaler-tolerance``."""
SYNC_SECONDS = 15.0
"""``--horizontal-pod-autoscaler-sync-period``."""
UTILISATION = 0.8
"""What an HPA without metrics aims at: 80 % of what was requested (``autoscaling/v2``)."""
KEDA_POLLING_SECONDS = 30.0
"""``pollingInterval``: how often KEDA itself looks, which matters from and to zero only."""
KEDA_COOLDOWN_SECONDS = 300.0
"""``cooldownPeriod``: from the last active look until it goes to ``minReplicaCount`` 0."""


class PolicyType(enum.StrEnum):
    """Unit of a scaling policy."""

    PODS = "Pods"
    PERCENT = "Percent"


@dataclass(frozen=True)
class Policy:
    """At most so much change within a period."""

    type: PolicyType
    value: int
    period: int
    """Seconds."""


@dataclass(frozen=True)
class Rules:
    """One direction of ``spec.behavior``."""

    window: int
    """``stabilizationWindowSeconds``."""
    policies: tuple[Policy, ...]
    select: str = "Max"
    """Max, Min or Disabled."""

    def render(self) -> dict[str, Any]:
        """Return the block of autoscaling/v2."""
        return {
            "stabilizationWindowSeconds": self.window,
            "selectPolicy": self.select,
            "policies": [{"type": p.type.value, "value": p.value, "periodSeconds": p.period} for p in self.policies],
        }


UP = Rules(0, (Policy(PolicyType.PERCENT, 100, 15), Policy(PolicyType.PODS, 4, 15)))
"""Default of ``behavior.scaleUp``."""
DOWN = Rules(300, (Policy(PolicyType.PERCENT, 100, 15),))
"""Default of ``behavior.scaleDown``."""


@dataclass(frozen=True)
class Spec:
    """What an HPA is told.

    Raises:
        ScalingError: bounds that contradict one another, or a tolerance below 0.
    """

    min_replicas: int
    max_replicas: int
    up: Rules = UP
    down: Rules = DOWN
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        if not 0 <= self.min_replicas <= self.max_replicas or self.max_replicas < 1:
            raise ScalingError(f"HPA: minReplicas {self.min_replicas}, maxReplicas {self.max_replicas}")
        if self.tolerance < 0:
            raise ScalingError(f"HPA: a tolerance of {self.tolerance} is below 0")


@dataclass(frozen=True)
class Memory:
    """What the controller remembers of one HPA between two looks."""

    recommendations: tuple[tuple[float, int], ...] = ()
    """When, and how many replicas the metrics asked for."""
    changes: tuple[tuple[float, int], ...] = ()
    """When, and by how many replicas it scaled (below 0: down)."""
    replicas: int | None = None
    """Of a shadow, which scales nothing: the replicas that it would hold."""


@dataclass(frozen=True)
class Pods:
    """The pods of a target and one metric of theirs."""

    values: Sequence[float]
    """Of the pods whose metric is there."""
    missing: int = 0
    """Running pods without the metric."""
    pending: int = 0
    """Pods that do not run yet; the code calls them unready."""


def from_pods(current: int, target: float, pods: Pods, tolerance: float = TOLERANCE) -> int | None:
    """Return the replicas that a metric of pods asks for (type Pods, ``averageValue``); None without any value.

    Pods without a metric count as if at the target on the way down and as 0 on the way up; pending pods count as 0 on
    the way up. Where that turns the direction, or lands within the tolerance, nothing changes.
    """
    if not pods.values:
        return None
    total = math.fsum(pods.values)
    count = len(pods.values)
    ratio = total / count / target
    with_pending = pods.pending > 0 and ratio > 1
    if not with_pending and not pods.missing:
        return current if within(ratio, tolerance) else ceil(ratio * count)
    if pods.missing and ratio != 1:
        total += target * pods.missing if ratio < 1 else 0.0
        count += pods.missing
    if with_pending:
        count += pods.pending
    again = total / count / target
    if within(again, tolerance) or (ratio < 1 < again) or (again < 1 < ratio):
        return current
    wanted = ceil(again * count)
    turned = (again < 1 and wanted > current) or (again > 1 and wanted < current)
    return current if turned else wanted


def from_total(current: int, target: float, total: float, tolerance: float = TOLERANCE) -> int:
    """Return the replicas that a total asks for (type External or Object, ``averageValue``), which is KEDA's kind."""
    if current > 0 and within(total / (target * current), tolerance):
        return current
    return ceil(total / target)


def within(ratio: float, tolerance: float = TOLERANCE) -> bool:
    """Tell whether a ratio of value to target is close enough to 1 to do nothing."""
    return abs(1 - ratio) <= tolerance


def ceil(value: float) -> int:
    """Round up, forgiving the last bits of floating point: 3.0000000000000004 replicas are 3."""
    return math.ceil(value - 1e-9)


def largest(current: int, asked: Sequence[int | None]) -> int:
    """Return what several metrics ask for together: the largest; with one missing it never goes down."""
    known = [wanted for wanted in asked if wanted is not None]
    if not known:
        return current
    most = max(known)
    return max(most, current) if len(known) < len(asked) else most


def step(now: float, spec: Spec, memory: Memory, current: int, asked: Sequence[int | None]) -> tuple[int, Memory]:
    """Look once: return the replicas to set and what to remember.

    Args:
        now: seconds.
        spec: bounds and behavior.
        memory: of the look before.
        current: ``spec.replicas`` of the target.
        asked: for each metric, what `from_pods` or `from_total` returned.
    """
    if current == 0 and spec.min_replicas != 0:
        return 0, memory  # set to zero by somebody: the HPA pauses
    if current > spec.max_replicas:
        return _changed(now, spec, memory, current, spec.max_replicas)
    if current < spec.min_replicas:
        return _changed(now, spec, memory, current, spec.min_replicas)
    if all(wanted is None for wanted in asked):
        return current, memory
    wanted = largest(current, asked)
    stable, recommendations = _stabilised(now, spec, memory, current, wanted)
    memory = Memory(recommendations, memory.changes, memory.replicas)
    return _changed(now, spec, memory, current, _limited(now, spec, memory, current, stable))


def _stabilised(
    now: float, spec: Spec, memory: Memory, current: int, wanted: int
) -> tuple[int, tuple[tuple[float, int], ...]]:
    """Return the recommendation after the windows, and what is remembered of recommendations."""
    past = memory.recommendations or ((now, current),)  # the controller begins with what it finds
    if wanted >= current:
        stable = min([wanted, *(count for when, count in past if when > now - spec.up.window)])
    else:
        stable = max([wanted, *(count for when, count in past if when > now - spec.down.window)])
    oldest = now - max(spec.up.window, spec.down.window)
    return stable, (*(one for one in past if one[0] > oldest), (now, wanted))


def _limited(now: float, spec: Spec, memory: Memory, current: int, wanted: int) -> int:
    """Return the replicas that the policies and bounds allow."""
    if wanted > current:
        rate = max(_rate_limit(now, spec.up, memory, current, 1), current)
        return min(wanted, rate, spec.max_replicas)
    if wanted < current:
        rate = min(_rate_limit(now, spec.down, memory, current, -1), current)
        return max(wanted, rate, spec.min_replicas)
    return wanted


def _rate_limit(now: float, rules: Rules, memory: Memory, current: int, sign: int) -> int:
    if rules.select == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        begin = current - sum(by for when, by in memory.changes if when > now - policy.period)
        if policy.type is PolicyType.PODS:
            limits.append(begin + sign * policy.value)
        elif sign > 0:
            limits.append(ceil(begin * (1 + policy.value / 100)))
        else:
            limits.append(int(begin * (1 - policy.value / 100)))
    # "Max" means the largest change: the highest limit on the way up, the lowest on the way down.
    return max(limits) if (rules.select == "Max") == (sign > 0) else min(limits)


def _changed(now: float, spec: Spec, memory: Memory, current: int, replicas: int) -> tuple[int, Memory]:
    longest = max(policy.period for policy in (*spec.up.policies, *spec.down.policies))
    changes = tuple(one for one in memory.changes if one[0] > now - longest)
    if replicas != current:
        changes = (*changes, (now, replicas - current))
    return replicas, Memory(memory.recommendations, changes, memory.replicas)


@dataclass(frozen=True)
class Keda:
    """What KEDA does around the HPA: from and to zero."""

    min_replicas: int = 0
    polling: float = KEDA_POLLING_SECONDS
    cooldown: float = KEDA_COOLDOWN_SECONDS
    activation: float = 0.0
    """``activationThreshold``: active above it."""

    def step(self, now: float, replicas: int, total: float, last_active: float) -> tuple[int | None, float]:
        """Look once: return replicas to set where KEDA itself acts, else None, and when it was last active.

        Args:
            now: seconds.
            replicas: of the Deployment.
            total: the trigger's value.
            last_active: what the look before returned.
        """
        if total > self.activation:
            return (max(self.min_replicas, 1) if replicas == 0 else None), now
        if self.min_replicas == 0 and replicas > 0 and now - last_active > self.cooldown:
            return 0, last_active
        return None, last_active


@dataclass(frozen=True)
class Shadow:
    """An HPA that scales nothing: what it would hold, given the same measured load."""

    spec: Spec
    target: float
    """Average load of a replica."""
    memory: Memory = field(default_factory=Memory)

    def step(self, now: float, replicas: int, load: float) -> tuple[int, Memory]:
        """Look once; return the replicas it would hold and what to remember.

        ``replicas`` counts for the first look only: afterwards it goes on from what it would hold itself.
        """
        held = self.memory.replicas
        current = max(replicas, self.spec.min_replicas) if held is None else held
        asked = from_total(current, self.target, load, self.spec.tolerance)
        wanted, memory = step(now, self.spec, self.memory, max(current, 1), [asked])
        return wanted, Memory(memory.recommendations, memory.changes, wanted)
