"""The platform's alerts. Each requires action by an operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from components.monitoring.builders import JOB_CONDITION, JOB_LABEL, OPERATOR_JOB
from components.monitoring.recording import make_autoscaling_group
from components.monitoring.settings import NAMESPACE, AlertName, Alerts, MonitoringSettings
from components.objects import LABELS
from inferstack.apimachinery.objects import Object

_GPU = "GPU {{ $labels.gpu }} ({{ $labels.UUID }}) of {{ $labels.Hostname }}"
_JOB = f"{{{{ $labels.namespace }}}}/{{{{ $labels.{JOB_LABEL} }}}}"
_VOLUME = "{{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }}"


class Alert(NamedTuple):
    """One alert."""

    name: AlertName
    severity: str
    """critical: act at any hour. warning: act in working hours."""
    expr: str
    waits: str
    """Duration for which the condition must hold."""
    summary: str
    """Summary in one line."""
    description: str
    """Meaning, and the first action."""


def make_rules(settings: MonitoringSettings) -> list[Object]:
    """Return the PrometheusRules: recording rules for autoscaling, and the alerts."""
    rules = [_prometheus_rule("inferstack-autoscaling", make_autoscaling_group(settings))]
    enabled = [alert for alert in make_alerts(settings.alerts) if alert.name not in settings.alerts.disabled]
    if settings.alerts.enabled and enabled:
        alert_rules = [_rule(alert, settings.alerts.runbook_url) for alert in enabled]
        rules.append(_prometheus_rule("inferstack-alerts", {"name": "inferstack", "rules": alert_rules}))
    return rules


def make_alerts(settings: Alerts) -> list[Alert]:
    """Return all alerts, including disabled ones."""
    return [*_gpu_alerts(settings), *_platform_alerts(settings)]


def _gpu_alerts(settings: Alerts) -> Iterator[Alert]:
    # The metric is the number of the last error until the driver is reloaded. Comparisons associate to the left.
    broken = "".join(f" != {xid}" for xid in sorted(settings.ignored_xids))
    yield Alert(
        "GpuXidError",
        "critical",
        f"DCGM_FI_DEV_XID_ERRORS > 0{broken}",
        "1m",
        f"{_GPU} had Xid error {{{{ $value }}}}.",
        "The driver reported an error of the GPU or its link. Drain the node, look the number up in NVIDIA's list of "
        "Xid errors, reset the GPU; the alert stays until then.",
    )
    yield Alert(
        "GpuMemoryTooHot",
        "warning",
        f"DCGM_FI_DEV_MEMORY_TEMP > {settings.gpu_memory_celsius}",
        "10m",
        f"{_GPU}: memory at {{{{ $value }}}} °C.",
        f"Memory above {settings.gpu_memory_celsius} °C slows down and wears. Look at the fans, the inlet temperature "
        "and the neighbours of the machine.",
    )
    yield Alert(
        "GpuRowRemapFailed",
        "critical",
        "DCGM_FI_DEV_ROW_REMAP_FAILURE > 0",
        "1m",
        f"{_GPU} cannot replace a broken memory row.",
        "No spare rows are left: results may be wrong. Take the GPU out of service and have it replaced.",
    )
    yield Alert(
        "GpuUncorrectableErrors",
        "warning",
        "increase(DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS[1h]) > 0",
        "0m",
        f"{_GPU} had an uncorrectable memory error.",
        "A memory row was replaced by a spare one, and what ran on it was killed. Reset the GPU so that the row takes "
        "effect; if it comes again within days, have the GPU replaced.",
    )


def _platform_alerts(settings: Alerts) -> Iterator[Alert]:
    yield Alert(
        "InferenceJobNotReady",
        "critical",
        # Without the reason label, since each change of the reason would restart the `for` duration.
        f'max by (namespace, {JOB_LABEL}) ({JOB_CONDITION}{{condition="Ready"}}) == 0',
        f"{settings.job_not_ready_minutes}m",
        f"Job {_JOB} is not ready.",
        "The job serves with fewer replicas than it asks for, or not at all. The conditions of the InferenceJob "
        "say what stands in the way.",
    )
    yield Alert(
        "InferencePodNotScraped",
        "warning",
        f'up{{{JOB_LABEL}!=""}} == 0',
        "5m",
        f"Pod {{{{ $labels.pod }}}} of job {_JOB} shows no metrics.",
        "The server does not answer on its metrics port, or the network keeps Prometheus out. Autoscaling takes the "
        "pod for unknown meanwhile.",
    )
    yield Alert(
        "AutoscalerWithoutMetrics",
        "warning",
        # An autoscaler is also inactive while its target is scaled to 0, which is no failure.
        'kube_horizontalpodautoscaler_status_condition{condition="ScalingActive",status="false"} == 1'
        " and on (namespace, horizontalpodautoscaler) kube_horizontalpodautoscaler_status_desired_replicas > 0",
        "10m",
        "Autoscaler {{ $labels.namespace }}/{{ $labels.horizontalpodautoscaler }} cannot read its metrics.",
        "The number of replicas stays as it is, whatever the load. Look at the conditions of the "
        "HorizontalPodAutoscaler, then at the metrics adapter or KEDA.",
    )
    yield Alert(
        "InferenceOperatorDown",
        "critical",
        f'absent(up{{job="{OPERATOR_JOB}"}} == 1)',
        "5m",
        "The inference operator is down.",
        "Running jobs keep serving; new and changed ones wait. Look at the Deployment inferstack-operator in the "
        "namespace inferstack-system.",
    )
    share = settings.volume_free_percent / 100
    yield Alert(
        "VolumeAlmostFull",
        "warning",
        f"kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes < {share:g}",
        "15m",
        f"Volume {_VOLUME} has {{{{ $value | humanizePercentage }}}} left.",
        "Whatever writes to it stops when it is full. Enlarge the claim, or delete from it.",
    )


def _rule(alert: Alert, runbooks: str | None) -> Object:
    annotations = {"summary": alert.summary, "description": alert.description}
    if runbooks:
        annotations["runbook_url"] = f"{runbooks}/{alert.name}"
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.waits,
        "labels": {"severity": alert.severity},
        "annotations": annotations,
    }


def _prometheus_rule(name: str, group: Object) -> Object:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS},
        "spec": {"groups": [group]},
    }
