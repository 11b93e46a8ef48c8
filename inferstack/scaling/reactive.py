"""Reactive scaling: the algorithm of the HorizontalPodAutoscaler, and the part that KEDA adds.

Sources: "Horizontal Pod Autoscaling" (algorithm details, configurable scaling behavior) in the Kubernetes
documentation, and ``pkg/controller/podautoscaler/{horizontal,replica_calculator}.go`` of Kubernetes 1.34 where the
documentation is not specific. KEDA: "Scaling Deployments" and the ScaledObject specification of KEDA 2.

It is used for the reactive baseline that no forecast may go below (`inferstack.scaling.plan`), for the peers of the
benchmark, and in tests of what the executor does.
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
UTILIZATION = 0.8
"""Default target of an HPA without metrics: 80% of the requests (``autoscaling/v2``)."""
KEDA_POLLING_SECONDS = 30.0
"""``pollingInterval``, which matters only for scaling from and to zero."""
KEDA_COOLDOWN_SECONDS = 300.0
"""``cooldownPeriod``: from the last active poll to scaling to ``minReplicaCount`` 0."""


class PolicyType(enum.StrEnum):
    """Unit of a scaling policy."""

    PODS = "Pods"
    PERCENT = "Percent"


@dataclass(frozen=True)
class ScalingPolicy:
    """HPAScalingPolicy: the maximum change within a period."""

    type: PolicyType
    value: int
    period: int
    """Seconds."""


@dataclass(frozen=True)
class ScalingRules:
    """HPAScalingRules: one direction of ``spec.behavior``."""

    window: int
    """``stabilizationWindowSeconds``."""
    policies: tuple[ScalingPolicy, ...]
    select: str = "Max"
    """Max, Min or Disabled."""

    def render(self) -> dict[str, Any]:
        """Return the rules in the form of autoscaling/v2."""
        return {
            "stabilizationWindowSeconds": self.window,
            "selectPolicy": self.select,
            "policies": [{"type": p.type.value, "value": p.value, "periodSeconds": p.period} for p in self.policies],
        }


UP = ScalingRules(0, (ScalingPolicy(PolicyType.PERCENT, 100, 15), ScalingPolicy(PolicyType.PODS, 4, 15)))
"""Default of ``behavior.scaleUp``."""
DOWN = ScalingRules(300, (ScalingPolicy(PolicyType.PERCENT, 100, 15),))
"""Default of ``behavior.scaleDown``."""


@dataclass(frozen=True)
class HpaSpec:
    """The spec of an HPA.

    Raises:
        ScalingError: contradictory bounds, or a negative tolerance.
    """

    min_replicas: int
    max_replicas: int
    up: ScalingRules = UP
    down: ScalingRules = DOWN
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        if not 0 <= self.min_replicas <= self.max_replicas or self.max_replicas < 1:
            raise ScalingError(f"HPA: minReplicas {self.min_replicas}, maxReplicas {self.max_replicas}: invalid bounds")
        if self.tolerance < 0:
            raise ScalingError(f"HPA: tolerance: {self.tolerance} is less than 0")


@dataclass(frozen=True)
class HpaState:
    """The state of the HPA controller for one HPA, between two syncs."""

    recommendations: tuple[tuple[float, int], ...] = ()
    """Times and replica counts that the metrics called for."""
    changes: tuple[tuple[float, int], ...] = ()
    """Times and changes of the replica count (negative: down)."""
    replicas: int | None = None
    """For a `ReactiveBaseline`: the replicas that it would hold."""


@dataclass(frozen=True)
class Pods:
    """One metric of the pods of a target."""

    values: Sequence[float]
    """Values of the pods that report the metric."""
    missing: int = 0
    """Running pods without the metric."""
    pending: int = 0
    """Pods that do not run yet (unready, in the code of the HPA)."""


def from_pods(current: int, target: float, pods: Pods, tolerance: float = TOLERANCE) -> int | None:
    """Return the replicas that a metric of type Pods (``averageValue``) calls for; None without any value.

    When scaling down, pods without the metric count as being at the target. When scaling up, they and pending pods
    count as 0. If that reverses the direction or ends within the tolerance, nothing changes.
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
    adjusted = total / count / target
    if within(adjusted, tolerance) or (ratio < 1 < adjusted) or (adjusted < 1 < ratio):
        return current
    desired = ceil(adjusted * count)
    reversed_direction = (adjusted < 1 and desired > current) or (adjusted > 1 and desired < current)
    return current if reversed_direction else desired


def from_total(current: int, target: float, total: float, tolerance: float = TOLERANCE) -> int:
    """Return the replicas that a metric of type External or Object (``averageValue``) calls for, as KEDA uses."""
    if current > 0 and within(total / (target * current), tolerance):
        return current
    return ceil(total / target)


def within(ratio: float, tolerance: float = TOLERANCE) -> bool:
    """Return whether the ratio of value to target is within the tolerance."""
    return abs(1 - ratio) <= tolerance


def ceil(value: float) -> int:
    """Round up, ignoring floating-point errors: 3.0000000000000004 replicas are 3."""
    return math.ceil(value - 1e-9)


def largest(current: int, proposals: Sequence[int | None]) -> int:
    """Return the largest proposal of several metrics; while a metric is missing, never less than the current count."""
    available = [replicas for replicas in proposals if replicas is not None]
    if not available:
        return current
    highest = max(available)
    return max(highest, current) if len(available) < len(proposals) else highest


def step(
    now: float, spec: HpaSpec, hpa_state: HpaState, current: int, proposals: Sequence[int | None]
) -> tuple[int, HpaState]:
    """Sync once: return the replicas to set and the new state.

    Args:
        now: seconds.
        spec: bounds and behavior.
        hpa_state: state after the previous sync.
        current: ``spec.replicas`` of the target.
        proposals: for each metric, the result of `from_pods` or `from_total`.
    """
    if current == 0 and spec.min_replicas != 0:
        return 0, hpa_state  # scaled to zero from outside: the HPA pauses
    if current > spec.max_replicas:
        return _changed(now, spec, hpa_state, current, spec.max_replicas)
    if current < spec.min_replicas:
        return _changed(now, spec, hpa_state, current, spec.min_replicas)
    if all(replicas is None for replicas in proposals):
        return current, hpa_state
    desired = largest(current, proposals)
    stable, recommendations = _stabilized(now, spec, hpa_state, current, desired)
    hpa_state = HpaState(recommendations, hpa_state.changes, hpa_state.replicas)
    return _changed(now, spec, hpa_state, current, _limited(now, spec, hpa_state, current, stable))


def _stabilized(
    now: float, spec: HpaSpec, hpa_state: HpaState, current: int, desired: int
) -> tuple[int, tuple[tuple[float, int], ...]]:
    """Return the recommendation after the stabilization windows, and the recommendations to keep."""
    past = hpa_state.recommendations or ((now, current),)  # the controller starts with the current count
    if desired >= current:
        stable = min([desired, *(count for when, count in past if when > now - spec.up.window)])
    else:
        stable = max([desired, *(count for when, count in past if when > now - spec.down.window)])
    oldest = now - max(spec.up.window, spec.down.window)
    return stable, (*((when, count) for when, count in past if when > oldest), (now, desired))


def _limited(now: float, spec: HpaSpec, hpa_state: HpaState, current: int, desired: int) -> int:
    """Return the replicas that the policies and bounds allow."""
    if desired > current:
        rate = max(_rate_limit(now, spec.up, hpa_state, current, 1), current)
        return min(desired, rate, spec.max_replicas)
    if desired < current:
        rate = min(_rate_limit(now, spec.down, hpa_state, current, -1), current)
        return max(desired, rate, spec.min_replicas)
    return desired


def _rate_limit(now: float, rules: ScalingRules, hpa_state: HpaState, current: int, sign: int) -> int:
    if rules.select == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        begin = current - sum(by for when, by in hpa_state.changes if when > now - policy.period)
        if policy.type is PolicyType.PODS:
            limits.append(begin + sign * policy.value)
        elif sign > 0:
            limits.append(ceil(begin * (1 + policy.value / 100)))
        else:
            limits.append(int(begin * (1 - policy.value / 100)))
    # "Max" selects the largest change: the highest limit when scaling up, the lowest when scaling down.
    return max(limits) if (rules.select == "Max") == (sign > 0) else min(limits)


def _changed(now: float, spec: HpaSpec, hpa_state: HpaState, current: int, replicas: int) -> tuple[int, HpaState]:
    longest = max(policy.period for policy in (*spec.up.policies, *spec.down.policies))
    changes = tuple((when, by) for when, by in hpa_state.changes if when > now - longest)
    if replicas != current:
        changes = (*changes, (now, replicas - current))
    return replicas, HpaState(hpa_state.recommendations, changes, hpa_state.replicas)


@dataclass(frozen=True)
class Keda:
    """The part of KEDA outside the HPA: scaling from and to zero."""

    min_replicas: int = 0
    polling: float = KEDA_POLLING_SECONDS
    cooldown: float = KEDA_COOLDOWN_SECONDS
    activation: float = 0.0
    """``activationThreshold``: the trigger is active above it."""

    def step(self, now: float, replicas: int, total: float, last_active: float) -> tuple[int | None, float]:
        """Poll once: return the replicas to set, None if KEDA does not act, and when the trigger was last active.

        Args:
            now: seconds.
            replicas: replicas of the Deployment.
            total: value of the trigger.
            last_active: result of the previous poll.
        """
        if total > self.activation:
            return (max(self.min_replicas, 1) if replicas == 0 else None), now
        if self.min_replicas == 0 and replicas > 0 and now - last_active > self.cooldown:
            return 0, last_active
        return None, last_active


@dataclass(frozen=True)
class ReactiveBaseline:
    """A simulated HPA: the replicas that it would hold under the measured load."""

    spec: HpaSpec
    target: float
    """Target load of a replica."""
    hpa_state: HpaState = field(default_factory=HpaState)

    def step(self, now: float, replicas: int, load: float) -> tuple[int, HpaState]:
        """Sync once; return the replicas that it would hold and the new state.

        ``replicas`` counts for the first sync only; later syncs start from the replicas that it would hold.
        """
        held = self.hpa_state.replicas
        current = max(replicas, self.spec.min_replicas) if held is None else held
        proposal = from_total(current, self.target, load, self.spec.tolerance)
        desired, hpa_state = step(now, self.spec, self.hpa_state, max(current, 1), [proposal])
        return desired, HpaState(hpa_state.recommendations, hpa_state.changes, desired)
