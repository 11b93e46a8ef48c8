"""The HorizontalPodAutoscaler and the status of a ScaledObject, as pure functions.

Names, labels and reasons are those of KEDA (controllers/keda and pkg/scaling of its sources at the pinned version).
The simulation measures nothing. No trigger is ever active or failed, and KEDA itself scales nothing.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from inferstack.apimachinery.labels import APP_NAME, MANAGED_BY, PART_OF
from inferstack.apimachinery.objects import Object

API_VERSION = "keda.sh/v1alpha1"
KIND = "ScaledObject"
HPA_VERSION = "autoscaling/v2"
HPA = "HorizontalPodAutoscaler"
FINALIZER = "finalizer.keda.sh"
NAME_LABEL = "scaledobject.keda.sh/name"
OPERATOR = "keda-operator"
PAUSED = "autoscaling.keda.sh/paused"
PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
_DEFAULT_MAX = 100
_RESOURCES = ("cpu", "memory")
_THRESHOLDS = ("threshold", "lagThreshold", "queueLength", "targetValue", "desiredReplicas", "value")
"""Metadata keys in which scalers keep their target value."""


class Target(NamedTuple):
    """The scale target of a ScaledObject, as known to the API server."""

    group: str
    version: str
    kind: str
    plural: str
    scalable: bool
    """Whether the kind has a scale subresource."""
    replicas: int | None
    """Currently requested replicas, or None if the object does not exist."""

    @property
    def text(self) -> str:
        """Return group, version and kind in KEDA's format."""
        return f"{self.group}/{self.version}.{self.kind}" if self.group else f"{self.version}.{self.kind}"


def target_reference(scaled: Object) -> tuple[str, str, str]:
    """Return apiVersion, kind and name of the scale target; the default is a Deployment."""
    reference = scaled["spec"]["scaleTargetRef"]
    return reference.get("apiVersion") or "apps/v1", reference.get("kind") or "Deployment", reference["name"]


def hpa_name(scaled: Object) -> str:
    """Return the name of the HorizontalPodAutoscaler."""
    given: str | None = _autoscaler(scaled).get("name")
    return given or f"keda-hpa-{scaled['metadata']['name']}"


def make_hpa(scaled: Object) -> Object:
    """Return the HorizontalPodAutoscaler, with at least one replica, because KEDA itself scales to and from zero."""
    spec, meta = scaled["spec"], scaled["metadata"]
    api_version, kind, target = target_reference(scaled)
    name = hpa_name(scaled)
    labels = {
        **{key: value for key, value in (meta.get("labels") or {}).items() if key != NAME_LABEL},
        NAME_LABEL: meta["name"],
        APP_NAME: name[:63],
        PART_OF: meta["name"],
        MANAGED_BY: OPERATOR,
    }
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    hpa_spec: Object = {
        "scaleTargetRef": {"apiVersion": api_version, "kind": kind, "name": target},
        "minReplicas": max(spec.get("minReplicaCount") or 0, 1),
        "maxReplicas": spec.get("maxReplicaCount") or _DEFAULT_MAX,
        # Sorted by type, as in KEDA, so that the order of triggers does not matter.
        "metrics": sorted(make_metrics(scaled), key=lambda metric: str(metric["type"])),
    }
    if behavior := _autoscaler(scaled).get("behavior"):
        hpa_spec["behavior"] = behavior
    return {
        "apiVersion": HPA_VERSION,
        "kind": HPA,
        "metadata": {"name": name, "namespace": meta["namespace"], "labels": labels, "ownerReferences": [owner]},
        "spec": hpa_spec,
    }


def make_metrics(scaled: Object) -> list[Object]:
    """Return the autoscaler's metrics, one for each trigger.

    Only prometheus metrics have KEDA's full name. Metrics of other scalers are named by type; KEDA adds details such as
    the queue or topic.
    """
    metrics: list[Object] = []
    for index, trigger in enumerate(scaled["spec"]["triggers"]):
        kind, metadata = trigger["type"], trigger["metadata"]
        if kind in _RESOURCES:
            if trigger.get("metricType") == "AverageValue":
                target = {"type": "AverageValue", "averageValue": metadata["value"]}
            else:
                target = {"type": "Utilization", "averageUtilization": int(metadata["value"])}
            metrics.append({"type": "Resource", "resource": {"name": kind, "target": target}})
            continue
        aim = next((metadata[key] for key in _THRESHOLDS if key in metadata), "1")
        type_ = trigger.get("metricType") or "AverageValue"
        target = {"type": type_, "value" if type_ == "Value" else "averageValue": milli(aim)}
        selector = {"matchLabels": {NAME_LABEL: scaled["metadata"]["name"]}}
        name = f"s{index}-{re.sub(r'[^a-zA-Z0-9-]', '-', kind)}"
        metrics.append(
            {"type": "External", "external": {"metric": {"name": name, "selector": selector}, "target": target}}
        )
    return metrics


def milli(text: str) -> str:
    """Return a number as a milli-quantity, as KEDA does; the result is 1 if the text is not a number."""
    try:
        return f"{int(Decimal(text) * 1000)}m"
    except InvalidOperation:
        return "1"


def is_paused(scaled: Object) -> bool:
    """Return whether an annotation pauses scaling."""
    annotations = scaled["metadata"].get("annotations") or {}
    if PAUSED_REPLICAS in annotations:
        return True
    # As in KEDA, every value that does not mean false counts as true.
    return str(annotations.get(PAUSED, "false")).lower() not in ("false", "f", "0")


def paused_replicas(scaled: Object) -> int | None:
    """Return the replicas requested while paused."""
    given = str((scaled["metadata"].get("annotations") or {}).get(PAUSED_REPLICAS, ""))
    return int(given) if given.isdecimal() else None


def problem(scaled: Object, target: Target | None) -> str | None:
    """Return the problem of an invalid ScaledObject, or None if the ScaledObject is valid."""
    spec = scaled["spec"]
    _, kind, name = target_reference(scaled)
    if target is None:
        return f"the API server does not serve the kind {kind} of the scale target"
    if target.replicas is None:
        return f"the scale target, {kind} {name}, is not there"
    if not target.scalable:
        return f"{kind} has no scale subresource"
    least, most = spec.get("minReplicaCount") or 0, spec.get("maxReplicaCount") or _DEFAULT_MAX
    idle = spec.get("idleReplicaCount")
    if least > most:
        return f"minReplicaCount {least} exceeds maxReplicaCount {most}"
    if idle is not None and idle >= max(least, 1):
        return f"idleReplicaCount {idle} is not below minReplicaCount {least}"
    names = [trigger["name"] for trigger in spec["triggers"] if trigger.get("name")]
    if len(set(names)) < len(names):
        return "two triggers have the same name"
    return None


def make_status(scaled: Object, target: Target | None, hpa: Object | None) -> Object:
    """Return the whole status.

    Args:
        scaled: the ScaledObject.
        target: the scale target, or None if the API server does not serve its kind.
        hpa: its HorizontalPodAutoscaler, if known.
    """
    before = scaled.get("status") or {}
    wrong = problem(scaled, target)
    status: Object = {
        key: before[key] for key in ("lastActiveTime", "originalReplicaCount", "scaleTargetGVKR") if key in before
    }
    if target is not None and target.replicas is not None:
        status["scaleTargetKind"] = target.text
        status["scaleTargetGVKR"] = {
            "group": target.group,
            "version": target.version,
            "kind": target.kind,
            "resource": target.plural,
        }
        status.setdefault("originalReplicaCount", target.replicas)
    triggers = scaled["spec"]["triggers"]
    paused = is_paused(scaled)
    if wrong is None:
        metrics = make_metrics(scaled)
        status["triggersTypes"] = ",".join(sorted({trigger["type"] for trigger in triggers}))
        names = {trigger["authenticationRef"]["name"] for trigger in triggers if trigger.get("authenticationRef")}
        if names:
            status["authenticationsTypes"] = ",".join(sorted(names))
        if external := [metric["external"]["metric"]["name"] for metric in metrics if metric["type"] == "External"]:
            status["externalMetricNames"] = external
        if resources := [metric["resource"]["name"] for metric in metrics if metric["type"] == "Resource"]:
            status["resourceMetricNames"] = resources
        if paused:
            if (count := paused_replicas(scaled)) is not None:
                status["pausedReplicaCount"] = count
        else:
            status["hpaName"] = hpa_name(scaled)
    status["conditions"] = _conditions(wrong, hpa, paused=paused)
    return status


def _conditions(wrong: str | None, hpa: Object | None, *, paused: bool) -> list[Object]:
    if wrong:
        ready = ("False", "ScaledObjectCheckFailed", wrong)
        active = ("Unknown", "UnknownState", "the ScaledObject is not as it should be")
    else:
        ready = ("True", "ScaledObjectReady", "the ScaledObject is as it should be")
        active = ("Unknown", "Rehearsed", "nothing is measured in the rehearsal")
    conditions = {
        "Ready": ready,
        "Active": active,
        "Fallback": ("False", "NoFallbackFound", "no fallback is active"),
        "Paused": ("True", "ScaledObjectPaused", "paused by an annotation")
        if paused
        else ("False", "ScaledObjectUnpaused", "no annotation pauses it"),
    }
    if (reads := scaling_active(hpa)) is not None and not paused:
        value, reason = reads
        if value == "True":
            conditions["HPAActive"] = ("True", "HPAActive", "the HorizontalPodAutoscaler reads its metrics")
        elif reason == "ScalingDisabled":
            conditions["HPAActive"] = ("True", "ScalingDisabled", "scaled to zero, the HorizontalPodAutoscaler waits")
        else:
            conditions["HPAActive"] = ("False", "HPAMetricsUnavailable", f"the HorizontalPodAutoscaler says {reason}")
    return [
        {"type": kind, "status": value, "reason": reason, "message": message}
        for kind, (value, reason, message) in conditions.items()
    ]


def scaling_active(hpa: Object | None) -> tuple[str, str] | None:
    """Return status and reason of an autoscaler's ScalingActive condition, or None while there is no condition."""
    for condition in ((hpa or {}).get("status") or {}).get("conditions") or []:
        if condition["type"] == "ScalingActive":
            return condition["status"], condition.get("reason", "")
    return None


def _autoscaler(scaled: Object) -> Object:
    advanced: Object = scaled["spec"].get("advanced") or {}
    return advanced.get("horizontalPodAutoscalerConfig") or {}
