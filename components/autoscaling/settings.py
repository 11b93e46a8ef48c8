"""Settings of the autoscaling role."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StringConstraints, ValidationInfo, field_validator

from components.autoscaling.triggers import REQUIRED, RESOURCES, TYPES
from components.settings import DnsLabel, RoleSettings
from inferstack.api import Metric, constants

Replicas = Annotated[StrictInt, Field(ge=0, le=constants.MAX_REPLICAS)]


def text(value: object) -> str:
    """Require a string, as KEDA does, even for numbers."""
    if not isinstance(value, str):
        shown = str(value).lower() if isinstance(value, bool) else value
        raise ValueError(f'must be a string; write "{shown}" with quotes')  # noqa: TRY004  # pydantic expects ValueError
    return value


class Trigger(RoleSettings):
    """A metric from outside the pods of a job."""

    type: str
    """Type of the KEDA scaler: prometheus, cron, kafka, aws-sqs-queue ..."""
    metadata: dict[str, Annotated[str, BeforeValidator(text)]]
    """Parameters of the scaler, as strings. For prometheus, serverAddress is optional."""
    name: DnsLabel | None = None
    """Name of the trigger, used in its metrics."""
    metric_type: Literal["AverageValue", "Value", "Utilization"] | None = None
    """Whether the threshold applies per replica (AverageValue, KEDA's default) or in total (Value)."""
    authentication: DnsLabel | None = None
    """One of `authentications`, in the namespace of the job."""
    cluster_authentication: DnsLabel | None = None
    """An existing ClusterTriggerAuthentication."""

    @field_validator("type")
    @classmethod
    def _is_known_type(cls, kind: str) -> str:
        if kind not in TYPES:
            near = difflib.get_close_matches(kind, TYPES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the types are {', '.join(sorted(TYPES))}"
            raise ValueError(f'KEDA has no scaler "{kind}"; {hint}')
        return kind

    @field_validator("metadata")
    @classmethod
    def _has_required_keys(cls, metadata: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        kind = info.data.get("type", "")
        for key in REQUIRED.get(kind, ()):
            if not metadata.get(key):
                raise ValueError(f"{key} is required for a {kind} trigger")
        return metadata

    @field_validator("cluster_authentication")
    @classmethod
    def _excludes_authentication(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name and info.data.get("authentication"):
            raise ValueError("authentication and clusterAuthentication are mutually exclusive")
        return name


class Fallback(RoleSettings):
    """Replicas while a trigger cannot be measured."""

    failures: Annotated[StrictInt, Field(ge=1, le=100)] = 3
    """Consecutive failed measurements before the fallback. 3: a restart of Prometheus can cause one."""
    replicas: Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS)]
    """Replicas during the fallback."""
    behavior: Literal["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"] = (
        "currentReplicasIfHigher"
    )
    """currentReplicasIfHigher: the larger of the current replicas and `replicas`, so that missing metrics never remove
    replicas."""


class ScaledJob(RoleSettings):
    """A job that KEDA scales."""

    job: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")]
    """Namespace and name of the job: nlp/nlp-model-001. Its spec must have neither replicas nor autoscale."""
    min_replicas: Replicas = 1
    """Minimum number of replicas. 0: no replicas while no trigger is active."""
    max_replicas: Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS)]
    """Maximum number of replicas."""
    metrics: tuple[Metric, ...] = ()
    """Metrics of the pods of the job, as in spec.autoscale."""
    triggers: tuple[Trigger, ...] = Field((), validate_default=True)
    """Metrics from outside the pods. minReplicas 0 requires one: there are no pod metrics at zero."""
    polling_seconds: Annotated[StrictInt, Field(ge=1, le=600)] = 10
    """Seconds between two polls of the triggers at 0 replicas. 10: a shorter period gains little, as loading a model
    takes minutes."""
    cooldown_seconds: Annotated[StrictInt, Field(ge=0, le=86400)] = 900
    """Seconds without an active trigger before the last replica is removed. 900: loading a large model takes minutes,
    so frequent bursts should not scale to zero in between."""
    scale_down_seconds: Annotated[StrictInt, Field(ge=0, le=3600)] = 300
    """Stabilization window for scaling down, in seconds. 300: the default of Kubernetes."""
    scale_up_seconds: Annotated[StrictInt, Field(ge=0, le=3600)] = 0
    """Stabilization window for scaling up, in seconds. 0: respond to a growing queue at once."""
    fallback: Fallback | None = None
    """Replicas while a trigger cannot be measured. null: the replicas stay as they are."""

    @field_validator("max_replicas")
    @classmethod
    def _is_not_below_min(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("min_replicas", 0)
        if least > most:
            raise ValueError(f"{most} is less than minReplicas ({least})")
        return most

    @field_validator("metrics")
    @classmethod
    def _has_each_type_once(cls, metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
        types = [metric.type for metric in metrics]
        for kind in types:
            if types.count(kind) > 1:
                raise ValueError(f"duplicate type {kind.value}; each type is allowed once")
        return metrics

    @field_validator("triggers")
    @classmethod
    def _can_scale_up_from_zero(cls, triggers: tuple[Trigger, ...], info: ValidationInfo) -> tuple[Trigger, ...]:
        if not triggers and not info.data.get("metrics"):
            raise ValueError("metrics or triggers is required")
        if info.data.get("min_replicas") == 0 and all(trigger.type in RESOURCES for trigger in triggers):
            raise ValueError(
                "minReplicas is 0, and pod metrics, cpu and memory cannot scale up from zero; add an external trigger "
                "(a prometheus query on the gateway, a queue, cron), or set minReplicas to 1"
            )
        return triggers

    @field_validator("fallback")
    @classmethod
    def _is_consistent(cls, fallback: Fallback | None, info: ValidationInfo) -> Fallback | None:
        if fallback is None:
            return None
        most = info.data.get("max_replicas", constants.MAX_REPLICAS)
        if fallback.replicas > most:
            raise ValueError(f"replicas: {fallback.replicas} is more than maxReplicas ({most})")
        triggers = info.data.get("triggers", ())
        if not info.data.get("metrics") and triggers and all(trigger.type in RESOURCES for trigger in triggers):
            raise ValueError("KEDA has no fallback for cpu and memory; remove it, or add another trigger")
        return fallback


class SecretParameter(RoleSettings):
    """A parameter of a KEDA scaler from a Secret."""

    parameter: str
    """Name of the parameter: bearerToken, password ..."""
    name: DnsLabel
    """Secret in the same namespace."""
    key: str
    """Key in the Secret."""


class Authentication(RoleSettings):
    """Credentials of triggers."""

    namespace: DnsLabel
    """Namespace of a tenant; its jobs may use the credentials."""
    name: DnsLabel
    """Name of the TriggerAuthentication."""
    secrets: tuple[SecretParameter, ...] = ()
    """Parameters from Secrets, by reference, so that the stack file contains no secrets."""
    pod_identity: Literal["aws", "azure-workload", "gcp"] | None = Field(None, validate_default=True)
    """Cloud provider whose pod identity the KEDA operator uses."""

    @field_validator("pod_identity")
    @classmethod
    def _has_credentials(cls, identity: str | None, info: ValidationInfo) -> str | None:
        if not identity and not info.data.get("secrets"):
            raise ValueError("secrets or podIdentity is required")
        return identity


class Adapter(RoleSettings):
    """Pod metrics for HorizontalPodAutoscalers."""

    enabled: StrictBool
    replicas: Annotated[StrictInt, Field(ge=1, le=5)]
    relist_seconds: Annotated[StrictInt, Field(ge=10, le=600)]


class Keda(RoleSettings):
    """Scaling to zero, and external metrics."""

    enabled: StrictBool
    replicas: Annotated[StrictInt, Field(ge=1, le=5)]


class PredictiveSettings(RoleSettings):
    """The predictive scaler."""

    enabled: StrictBool
    interval_seconds: Annotated[StrictInt, Field(ge=1, le=60)]
    valid_seconds: Annotated[StrictInt, Field(ge=15, le=900)]
    history_days: Annotated[StrictInt, Field(ge=1, le=60)]
    image: str | None
    resources: dict[str, dict[str, str]]

    @field_validator("valid_seconds")
    @classmethod
    def _is_at_least_three_intervals(cls, valid: int, info: ValidationInfo) -> int:
        interval = info.data.get("interval_seconds", 1)
        if valid < 3 * interval:
            raise ValueError(
                f"{valid} is less than three times intervalSeconds ({interval}): decisions would expire before they "
                "are renewed"
            )
        return valid


class AutoscalingSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
    prometheus_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$")] | None
    adapter: Adapter
    keda: Keda
    predictive: PredictiveSettings
    scaled_jobs: tuple[ScaledJob, ...]
    authentications: tuple[Authentication, ...]

    @property
    def has_adapter(self) -> bool:
        """Whether the metrics adapter is enabled."""
        return self.enabled and self.adapter.enabled

    @property
    def has_keda(self) -> bool:
        """Whether KEDA is enabled."""
        return self.enabled and self.keda.enabled

    @property
    def has_scaler(self) -> bool:
        """Whether the predictive scaler is enabled."""
        return self.enabled and self.predictive.enabled
