"""What autoscaling and the rest of a stack say together."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from components.addon.catalogue import AddonName
from components.autoscaling.settings import AutoscalingSettings, ScaledJob
from components.settings import PROJECT
from inferstack.api import InferenceJobSpec, runtimes
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError

_KEY = f"{PROJECT}:autoscaling"
_JOBS = f"{PROJECT}:inference.jobs"


def check(
    settings: AutoscalingSettings,
    *,
    jobs: Sequence[Object],
    tenants: Collection[str],
    prometheus_url: str | None,
    chart_values: Mapping[AddonName, Mapping[str, Any]],
) -> dict[str, InferenceJobSpec]:
    """Check the settings against the rest of the stack; return the specs of the jobs by namespace/name.

    Args:
        settings: of the role.
        jobs: the stack's InferenceJobs, in the order of its list.
        tenants: names of the tenants' namespaces.
        prometheus_url: of the monitoring role's Prometheus, None where there is none.
        chart_values: inferstack:addon.values of the stack, by add-on.

    Raises:
        UserError: naming the key, both keys where two do not go together.
    """
    url = settings.prometheus_url or prometheus_url
    _check_adapter(settings, url, chart_values.get("prometheus-adapter", {}))
    _check_scaler(settings, url, jobs)
    _check_authentications(settings, tenants)
    by_name = {f"{job['metadata']['namespace']}/{job['metadata']['name']}": i for i, job in enumerate(jobs)}
    specs = {name: InferenceJobSpec.model_validate(jobs[index]["spec"]) for name, index in by_name.items()}
    seen: dict[str, int] = {}
    for index, scaled in enumerate(settings.scaled_jobs):
        key = f"{_KEY}.scaledJobs[{index}]"
        if not settings.has_keda:
            raise UserError(f"{key}: nothing scales it while {_KEY}.keda.enabled or {_KEY}.enabled is false.")
        if scaled.job not in by_name:
            near = difflib.get_close_matches(scaled.job, by_name, n=1) or sorted(by_name)
            raise UserError(f'{key}.job: the stack has no job "{scaled.job}"; it has {", ".join(near) or "none"}.')
        if scaled.job in seen:
            raise UserError(f"{key}.job: {scaled.job} is also {_KEY}.scaledJobs[{seen[scaled.job]}]; remove one.")
        seen[scaled.job] = index
        number = by_name[scaled.job]
        _check_alone(key, scaled, f"{_JOBS}[{number}].spec", jobs[number]["spec"])
        _check_metrics(key, scaled, specs[scaled.job], url)
        _check_triggers(key, scaled, settings, url)
    return specs


def _check_adapter(settings: AutoscalingSettings, url: str | None, values: Mapping[str, Any]) -> None:
    if settings.has_adapter and not url:
        raise UserError(
            f"{_KEY}.adapter.enabled: there is no Prometheus to ask; turn {PROJECT}:monitoring.enabled on, name one in "
            f"{_KEY}.prometheusUrl, or turn the adapter off."
        )
    rules = values.get("rules") or {}
    if settings.has_adapter and settings.has_keda and rules.get("external"):
        raise UserError(
            f"{PROJECT}:addon.values.prometheus-adapter.rules.external: with a rule here the adapter claims the API "
            f"external.metrics.k8s.io, which is KEDA's ({_KEY}.keda.enabled); a cluster has one server for it. Make "
            f"the rule a trigger in {_KEY}.scaledJobs, or turn KEDA off."
        )


def _check_scaler(settings: AutoscalingSettings, url: str | None, jobs: Sequence[Object]) -> None:
    """A job that asks to be scaled ahead of its load must find who does it."""
    if settings.has_scaler and url:
        return
    why = f"{_KEY}.predictive.enabled or {_KEY}.enabled is false"
    if settings.has_scaler:
        why = f"there is no Prometheus to ask: {PROJECT}:monitoring.enabled and {_KEY}.prometheusUrl name none"
    for index, job in enumerate(jobs):
        if (job["spec"].get("autoscale") or {}).get("predictive"):
            raise UserError(f"{_JOBS}[{index}].spec.autoscale.predictive: nothing serves it while {why}.")


def _check_authentications(settings: AutoscalingSettings, tenants: Collection[str]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for index, authentication in enumerate(settings.authentications):
        key = f"{_KEY}.authentications[{index}]"
        identity = (authentication.namespace, authentication.name)
        if not settings.has_keda:
            raise UserError(f"{key}: nothing reads it while {_KEY}.keda.enabled or {_KEY}.enabled is false.")
        if authentication.namespace not in tenants:
            there = ", ".join(sorted(tenants)) or "none"
            raise UserError(f'{key}.namespace: no tenant "{authentication.namespace}"; there are {there}.')
        if identity in seen:
            raise UserError(
                f'{key}.name: "{authentication.name}" in namespace {authentication.namespace} is also '
                f"{_KEY}.authentications[{seen[identity]}]; rename one."
            )
        seen[identity] = index


def _check_alone(key: str, scaled: ScaledJob, job_key: str, spec: Mapping[str, Any]) -> None:
    """Nothing else may move the job's replicas."""
    if spec.get("autoscale"):
        raise UserError(
            f"{key}.job: {scaled.job} has {job_key}.autoscale too: two autoscalers would move its replicas against one "
            f"another. Remove one; what autoscale says can be said in {key}.metrics."
        )
    if "replicas" in spec:
        raise UserError(
            f"{key}.job: {scaled.job} has {job_key}.replicas too: each change of the job would set the number back "
            f"that KEDA has found. Leave it out; {key}.minReplicas and maxReplicas say the bounds."
        )


def _check_metrics(key: str, scaled: ScaledJob, spec: InferenceJobSpec, url: str | None) -> None:
    if scaled.metrics and not url:
        raise UserError(
            f"{key}.metrics: there is no Prometheus to ask; turn {PROJECT}:monitoring.enabled on, or name one in "
            f"{_KEY}.prometheusUrl."
        )
    runtime = runtimes.load().choose(spec)
    for index, metric in enumerate(scaled.metrics):
        if metric.type not in runtime.metrics:
            has = ", ".join(known.value for known in runtime.metrics)
            raise UserError(
                f"{key}.metrics[{index}].type: {runtime.name.value}, which serves {scaled.job}, has no "
                f"{metric.type.value}; it has {has}."
            )


def _check_triggers(key: str, scaled: ScaledJob, settings: AutoscalingSettings, url: str | None) -> None:
    namespace = scaled.job.split("/")[0]
    names = [one.name for one in settings.authentications if one.namespace == namespace]
    for index, trigger in enumerate(scaled.triggers):
        at = f"{key}.triggers[{index}]"
        if trigger.type == "prometheus" and "serverAddress" not in trigger.metadata and not url:
            raise UserError(
                f"{at}.metadata.serverAddress: is required, for there is no Prometheus in this stack to fill in."
            )
        if trigger.authentication and trigger.authentication not in names:
            raise UserError(
                f'{at}.authentication: there is no "{trigger.authentication}" in namespace {namespace} in '
                f"{_KEY}.authentications; there is {', '.join(names) or 'none'}."
            )
