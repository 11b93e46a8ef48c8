"""Checks of the autoscaling settings against the rest of the stack."""

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
        settings: settings of the role.
        jobs: InferenceJobs of the stack, in the order of its list.
        tenants: namespaces of the tenants.
        prometheus_url: Prometheus of the monitoring role; None without one.
        chart_values: inferstack:addon.values of the stack, by add-on.

    Raises:
        UserError: naming the key, or both keys of a contradiction.
    """
    url = settings.prometheus_url or prometheus_url
    _check_adapter(settings, url, chart_values.get("prometheus-adapter", {}))
    _check_scaler(settings, url, jobs)
    _check_authentications(settings, tenants)
    by_name = {f"{job['metadata']['namespace']}/{job['metadata']['name']}": i for i, job in enumerate(jobs)}
    specs = {name: InferenceJobSpec.model_validate(jobs[index]["spec"]) for name, index in by_name.items()}
    first_index: dict[str, int] = {}
    for index, scaled in enumerate(settings.scaled_jobs):
        key = f"{_KEY}.scaledJobs[{index}]"
        if not settings.has_keda:
            raise UserError(f"{key}: requires {_KEY}.enabled and {_KEY}.keda.enabled.")
        if scaled.job not in by_name:
            near = difflib.get_close_matches(scaled.job, by_name, n=1) or sorted(by_name)
            raise UserError(f'{key}.job: the stack has no job "{scaled.job}"; it has {", ".join(near) or "none"}.')
        if scaled.job in first_index:
            raise UserError(
                f"{key}.job: {scaled.job} is already in {_KEY}.scaledJobs[{first_index[scaled.job]}]; remove one."
            )
        first_index[scaled.job] = index
        number = by_name[scaled.job]
        _check_single_scaler(key, scaled, f"{_JOBS}[{number}].spec", jobs[number]["spec"])
        _check_metrics(key, scaled, specs[scaled.job], url)
        _check_triggers(key, scaled, settings, url)
    return specs


def _check_adapter(settings: AutoscalingSettings, url: str | None, values: Mapping[str, Any]) -> None:
    if settings.has_adapter and not url:
        raise UserError(
            f"{_KEY}.adapter.enabled: no Prometheus is configured; enable {PROJECT}:monitoring.enabled, set "
            f"{_KEY}.prometheusUrl, or disable the adapter."
        )
    rules = values.get("rules") or {}
    if settings.has_adapter and settings.has_keda and rules.get("external"):
        raise UserError(
            f"{PROJECT}:addon.values.prometheus-adapter.rules.external: with a rule, the adapter claims the API "
            f"external.metrics.k8s.io, which KEDA serves ({_KEY}.keda.enabled); a cluster has one server for it. Use a "
            f"trigger in {_KEY}.scaledJobs instead, or disable KEDA."
        )


def _check_scaler(settings: AutoscalingSettings, url: str | None, jobs: Sequence[Object]) -> None:
    """Check that a scaler serves the jobs that request predictive scaling."""
    if settings.has_scaler and url:
        return
    required = f"{_KEY}.enabled and {_KEY}.predictive.enabled"
    if settings.has_scaler:
        required = f"a Prometheus ({PROJECT}:monitoring.enabled or {_KEY}.prometheusUrl)"
    for index, job in enumerate(jobs):
        if (job["spec"].get("autoscale") or {}).get("predictive"):
            raise UserError(f"{_JOBS}[{index}].spec.autoscale.predictive: requires {required}.")


def _check_authentications(settings: AutoscalingSettings, tenants: Collection[str]) -> None:
    first_index: dict[tuple[str, str], int] = {}
    for index, authentication in enumerate(settings.authentications):
        key = f"{_KEY}.authentications[{index}]"
        identity = (authentication.namespace, authentication.name)
        if not settings.has_keda:
            raise UserError(f"{key}: requires {_KEY}.enabled and {_KEY}.keda.enabled.")
        if authentication.namespace not in tenants:
            names = ", ".join(sorted(tenants)) or "none"
            raise UserError(f'{key}.namespace: no tenant "{authentication.namespace}"; the tenants are {names}.')
        if identity in first_index:
            raise UserError(
                f'{key}.name: "{authentication.name}" in namespace {authentication.namespace} is already in '
                f"{_KEY}.authentications[{first_index[identity]}]; rename one."
            )
        first_index[identity] = index


def _check_single_scaler(key: str, scaled: ScaledJob, job_key: str, spec: Mapping[str, Any]) -> None:
    """Check that nothing else sets the replicas of the job."""
    if spec.get("autoscale"):
        raise UserError(
            f"{key}.job: {scaled.job} also has {job_key}.autoscale, and two autoscalers would counteract each other. "
            f"Remove one; {key}.metrics takes the same metrics."
        )
    if "replicas" in spec:
        raise UserError(
            f"{key}.job: {scaled.job} also has {job_key}.replicas, so each change of the job would undo the scaling "
            f"of KEDA. Remove it; {key}.minReplicas and maxReplicas are the bounds."
        )


def _check_metrics(key: str, scaled: ScaledJob, spec: InferenceJobSpec, url: str | None) -> None:
    if scaled.metrics and not url:
        raise UserError(
            f"{key}.metrics: no Prometheus is configured; enable {PROJECT}:monitoring.enabled or set "
            f"{_KEY}.prometheusUrl."
        )
    runtime = runtimes.load().choose(spec)
    for index, metric in enumerate(scaled.metrics):
        if metric.type not in runtime.metrics:
            available = ", ".join(metric_type.value for metric_type in runtime.metrics)
            raise UserError(
                f"{key}.metrics[{index}].type: {runtime.name.value}, the runtime of {scaled.job}, has no "
                f"{metric.type.value}; it has {available}."
            )


def _check_triggers(key: str, scaled: ScaledJob, settings: AutoscalingSettings, url: str | None) -> None:
    namespace = scaled.job.split("/")[0]
    names = [item.name for item in settings.authentications if item.namespace == namespace]
    for index, trigger in enumerate(scaled.triggers):
        at = f"{key}.triggers[{index}]"
        if trigger.type == "prometheus" and "serverAddress" not in trigger.metadata and not url:
            raise UserError(f"{at}.metadata.serverAddress: is required, as the stack has no Prometheus as a default.")
        if trigger.authentication and trigger.authentication not in names:
            raise UserError(
                f'{at}.authentication: {_KEY}.authentications has no "{trigger.authentication}" in namespace '
                f"{namespace}; it has {', '.join(names) or 'none'}."
            )
