"""Readiness rules: one pure function for each kind, equivalent to the await logic of the vendor's provider."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from inferstack.apimachinery.objects import ReadOnlyObject
from inferstack.k8s.conditions import condition_status, conditions_of, find_condition
from standins.kubernetes import jsonpath
from standins.kubernetes.objects import SKIP_AWAIT, WAIT_FOR, annotation


@dataclass(frozen=True)
class Progress:
    """The readiness of an object."""

    ready: bool
    message: str = ""
    """Why the object is not ready."""
    failed: bool = False
    """Whether the object can no longer become ready."""


Rule = Callable[[ReadOnlyObject], Progress]
READY = Progress(ready=True)


class WaitForError(ValueError):
    """The annotation ``pulumi.com/waitFor`` is malformed."""


def rule_for(inputs: ReadOnlyObject, live: ReadOnlyObject) -> Rule | None:
    """Return the readiness rule of an object, or None if it is ready as soon as it exists.

    The annotations ``pulumi.com/skipAwait`` and ``pulumi.com/waitFor`` take precedence over the rule of the kind.

    Raises:
        WaitForError: the annotation is malformed.
    """
    if annotation(inputs, SKIP_AWAIT) == "true":
        return None
    expression = annotation(inputs, WAIT_FOR)
    if expression:
        return _custom(expression)
    return _RULES.get(f"{live.get('apiVersion')}/{live.get('kind')}")


def _custom(value: str) -> Rule:
    try:
        listed = json.loads(value)
    except ValueError:
        listed = value
    expressions = listed if isinstance(listed, list) else [value]
    if not expressions:
        raise WaitForError(f"{WAIT_FOR}: at least one condition must be specified")
    checks = [_check(str(expression)) for expression in expressions]

    def rule(obj: ReadOnlyObject) -> Progress:
        missing = [text for text, check in checks if not check(obj)]
        return Progress(not missing, f"waiting for {', '.join(missing)}" if missing else "")

    return rule


def _check(expression: str) -> tuple[str, Callable[[ReadOnlyObject], bool]]:
    if expression.startswith("jsonpath="):
        path = expression.removeprefix("jsonpath=")
        try:
            jsonpath.matches(path, {})
        except jsonpath.ExpressionError as error:
            raise WaitForError(f"{WAIT_FOR}: {error}") from error
        return expression, lambda obj: jsonpath.matches(path, obj)
    if expression.startswith("condition="):
        kind, _, status = expression.removeprefix("condition=").partition("=")
        return expression, lambda obj: condition_status(obj, kind) == (status.strip("'\"") or "True").capitalize()
    raise WaitForError(f'{WAIT_FOR}: expected a "jsonpath=" or "condition=" prefix, got {expression!r}')


def _reason_and_message(obj: ReadOnlyObject, kind: str) -> str:
    condition = find_condition(obj, kind)
    return ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))


def _is_observed(obj: ReadOnlyObject) -> bool:
    observed = (obj.get("status") or {}).get("observedGeneration", 0)
    return int(observed) >= int(obj["metadata"].get("generation", 0))


def _deployment(obj: ReadOnlyObject) -> Progress:
    spec, status = obj["spec"], obj.get("status") or {}
    if not _is_observed(obj):
        return Progress(False, "the controller has not observed the latest generation")
    desired = spec.get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if spec.get("paused"):
        return READY
    if updated < desired:
        return Progress(False, _with_reason(f"{updated} of {desired} pods are updated", obj))
    if status.get("replicas", 0) > updated:
        return Progress(False, f"{status['replicas'] - updated} pods of an older revision remain")
    if available < desired:
        return Progress(False, _with_reason(f"{available} of {desired} pods are available", obj))
    return READY


def _with_reason(text: str, obj: ReadOnlyObject) -> str:
    failing = next(
        (
            _reason_and_message(obj, str(c["type"]))
            for c in conditions_of(obj)
            if (c.get("type") == "ReplicaFailure" and c.get("status") == "True")
            or (c.get("type") == "Progressing" and c.get("status") == "False")
        ),
        "",
    )
    return f"{text} ({failing})" if failing else text


def _stateful_set(obj: ReadOnlyObject) -> Progress:
    spec, status = obj["spec"], obj.get("status") or {}
    if not _is_observed(obj):
        return Progress(False, "the controller has not observed the latest generation")
    desired, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
    if ready < desired:
        return Progress(False, f"{ready} of {desired} pods are ready")
    strategy = spec.get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if strategy.get("type") != "OnDelete" and not partition:
        updated = status.get("updatedReplicas", 0)
        if status.get("updateRevision") != status.get("currentRevision") and updated < desired:
            return Progress(False, f"{updated} of {desired} pods are updated")
    return READY


def _daemon_set(obj: ReadOnlyObject) -> Progress:
    status = obj.get("status") or {}
    if not _is_observed(obj):
        return Progress(False, "the controller has not observed the latest generation")
    desired = status.get("desiredNumberScheduled", 0)
    if (obj["spec"].get("updateStrategy") or {}).get("type") != "OnDelete":
        updated = status.get("updatedNumberScheduled", 0)
        if updated < desired:
            return Progress(False, f"{updated} of {desired} pods are updated")
    available = status.get("numberAvailable", 0)
    if available < desired:
        return Progress(False, f"{available} of {desired} pods are available")
    return READY


def _job(obj: ReadOnlyObject) -> Progress:
    if condition_status(obj, "Failed") == "True":
        return Progress(False, f"the Job failed: {_reason_and_message(obj, 'Failed')}", failed=True)
    if condition_status(obj, "Complete") == "True":
        return READY
    status = obj.get("status") or {}
    desired = obj["spec"].get("completions") or obj["spec"].get("parallelism") or 1
    return Progress(False, f"{status.get('succeeded', 0)} of {desired} pods have succeeded")


def _pod(obj: ReadOnlyObject) -> Progress:
    phase = (obj.get("status") or {}).get("phase")
    if phase == "Succeeded" or condition_status(obj, "Ready") == "True":
        return READY
    return Progress(False, pod_problem(obj) or f"the Pod is {phase or 'Pending'}")


def pod_problem(pod: ReadOnlyObject) -> str:
    """Return a one-line reason why a Pod is not ready, or ""."""
    if condition_status(pod, "Ready") == "True":
        return ""
    if condition_status(pod, "PodScheduled") == "False":
        return _reason_and_message(pod, "PodScheduled")
    waiting = [
        f"container {c['name']}: {': '.join(str(state[k]) for k in ('reason', 'message') if state.get(k))}"
        for c in (pod.get("status") or {}).get("containerStatuses") or []
        for state in [(c.get("state") or {}).get("waiting") or (c.get("state") or {}).get("terminated") or {}]
        if state
    ]
    return "; ".join(waiting) or _reason_and_message(pod, "Ready")


def _claim(obj: ReadOnlyObject) -> Progress:
    phase = (obj.get("status") or {}).get("phase")
    return READY if phase == "Bound" else Progress(False, f"the claim is {phase or 'Pending'}")


def _volume(obj: ReadOnlyObject) -> Progress:
    phase = (obj.get("status") or {}).get("phase")
    return READY if phase in ("Available", "Bound") else Progress(False, f"the volume is {phase or 'Pending'}")


def _quota(obj: ReadOnlyObject) -> Progress:
    enforced = (obj.get("status") or {}).get("hard") or {}
    missing = sorted(set(obj["spec"].get("hard") or {}) - set(enforced))
    return Progress(not missing, f"not yet enforced: {', '.join(missing)}" if missing else "")


def _secret(obj: ReadOnlyObject) -> Progress:
    if obj.get("type") == "kubernetes.io/service-account-token" and not obj.get("data"):
        return Progress(False, "the token has not been written yet")
    return READY


def _ingress(obj: ReadOnlyObject) -> Progress:
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    return (
        READY if ingress else Progress(False, "Ingress .status.loadBalancer field was not updated with a hostname/IP")
    )


def _definition(obj: ReadOnlyObject) -> Progress:
    if condition_status(obj, "NamesAccepted") == "False":
        return Progress(False, _reason_and_message(obj, "NamesAccepted"))
    return (
        READY if condition_status(obj, "Established") == "True" else Progress(False, "the kind is not established yet")
    )


def _load_balancer(obj: ReadOnlyObject) -> Progress:
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    if obj["spec"].get("type") == "LoadBalancer" and not ingress:
        return Progress(False, "Service was not allocated an IP address")
    return READY


def selects_pods(service: ReadOnlyObject) -> bool:
    """Return whether a Service must have endpoints to be ready: it has a selector and is not headless or external."""
    spec = service["spec"]
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None"


_RULES: dict[str, Rule] = {
    "apiextensions.k8s.io/v1/CustomResourceDefinition": _definition,
    "apps/v1/DaemonSet": _daemon_set,
    "apps/v1/Deployment": _deployment,
    "apps/v1/StatefulSet": _stateful_set,
    "batch/v1/Job": _job,
    "networking.k8s.io/v1/Ingress": _ingress,
    "v1/PersistentVolume": _volume,
    "v1/PersistentVolumeClaim": _claim,
    "v1/Pod": _pod,
    "v1/ResourceQuota": _quota,
    "v1/Secret": _secret,
    "v1/Service": _load_balancer,
}
