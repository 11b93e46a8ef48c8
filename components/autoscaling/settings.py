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
    """Check a value that KEDA reads as text, be it a number."""
    if not isinstance(value, str):
        shown = str(value).lower() if isinstance(value, bool) else value
        raise ValueError(f'KEDA takes text only; write "{shown}" with quotes')  # noqa: TRY004  # pydantic's way
    return value


class Trigger(RoleSettings):
    """A measure from outside the job's pods."""

    type: str
    """Type of KEDA's scaler: prometheus, cron, kafka, aws-sqs-queue ..."""
    metadata: dict[str, Annotated[str, BeforeValidator(text)]]
    """What the scaler needs to know, each value as text. Of prometheus, serverAddress may be left out."""
    name: DnsLabel | None = None
    """Name of the trigger, for its metrics."""
    metric_type: Literal["AverageValue", "Value", "Utilization"] | None = None
    """Whether the threshold is for each replica (AverageValue, KEDA's default) or for all together (Value)."""
    authentication: DnsLabel | None = None
    """One of the authentications below, in the job's namespace."""
    cluster_authentication: DnsLabel | None = None
    """A ClusterTriggerAuthentication that is there."""

    @field_validator("type")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in TYPES:
            near = difflib.get_close_matches(kind, TYPES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(TYPES))}"
            raise ValueError(f'KEDA has no scaler "{kind}"; {hint}')
        return kind

    @field_validator("metadata")
    @classmethod
    def _whole(cls, metadata: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        kind = info.data.get("type", "")
        for key in REQUIRED.get(kind, ()):
            if not metadata.get(key):
                raise ValueError(f"{key} is missing, which a {kind} trigger needs")
        return metadata

    @field_validator("cluster_authentication")
    @classmethod
    def _one_way_in(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name and info.data.get("authentication"):
            raise ValueError("authentication is set too, and they exclude each other; keep one")
        return name


class Fallback(RoleSettings):
    """What happens while a trigger cannot be measured."""

    failures: Annotated[StrictInt, Field(ge=1, le=100)] = 3
    """Failed measurements in a row until it happens. 3: one is a Prometheus that restarts."""
    replicas: Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS)]
    """Replicas meanwhile."""
    behavior: Literal["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"] = (
        "currentReplicasIfHigher"
    )
    """currentReplicasIfHigher: as many as there are, or `replicas` where that is more, so that being blind takes
    nothing away."""


class ScaledJob(RoleSettings):
    """A job that KEDA scales."""

    job: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")]
    """Namespace and name of the job: nlp/nlp-model-001. It must leave spec.replicas and spec.autoscale out."""
    min_replicas: Replicas = 1
    """Fewest replicas. 0: none while no trigger is active."""
    max_replicas: Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS)]
    """Most replicas."""
    metrics: tuple[Metric, ...] = ()
    """What to scale by of the job's own pods, as in spec.autoscale."""
    triggers: tuple[Trigger, ...] = Field((), validate_default=True)
    """What to scale by of the world outside. With minReplicas 0 there must be one: no pod measures anything at zero."""
    polling_seconds: Annotated[StrictInt, Field(ge=1, le=600)] = 10
    """Time between two looks at the triggers while there are 0 replicas. 10: beside the minutes in which a model loads,
    less gains nothing."""
    cooldown_seconds: Annotated[StrictInt, Field(ge=0, le=86400)] = 900
    """Time without an active trigger before the last replica goes. 900: loading a large model takes minutes, which an
    hourly burst must not pay each time."""
    scale_down_seconds: Annotated[StrictInt, Field(ge=0, le=3600)] = 300
    """Time over which the highest wish counts before replicas go. 300, as Kubernetes has it."""
    scale_up_seconds: Annotated[StrictInt, Field(ge=0, le=3600)] = 0
    """Time over which the lowest wish counts before replicas come. 0: a queue that grows is answered at once."""
    fallback: Fallback | None = None
    """What happens while a trigger cannot be measured. null: the number of replicas stays."""

    @field_validator("max_replicas")
    @classmethod
    def _in_order(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("min_replicas", 0)
        if least > most:
            raise ValueError(f"is {most}, below minReplicas {least}")
        return most

    @field_validator("metrics")
    @classmethod
    def _each_once(cls, metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
        types = [metric.type for metric in metrics]
        for found in types:
            if types.count(found) > 1:
                raise ValueError(f"type {found.value} is there twice; each type at most once")
        return metrics

    @field_validator("triggers")
    @classmethod
    def _wake_it_up(cls, triggers: tuple[Trigger, ...], info: ValidationInfo) -> tuple[Trigger, ...]:
        if not triggers and not info.data.get("metrics"):
            raise ValueError("there is nothing to scale by; give metrics, triggers or both")
        if info.data.get("min_replicas") == 0 and all(trigger.type in RESOURCES for trigger in triggers):
            raise ValueError(
                "minReplicas is 0, and at zero no pod is there whose metrics, CPU or memory could wake the job up; add "
                "one of triggers from outside (a prometheus query on the gateway, a queue, cron), or let it be 1"
            )
        return triggers

    @field_validator("fallback")
    @classmethod
    def _fits(cls, fallback: Fallback | None, info: ValidationInfo) -> Fallback | None:
        if fallback is None:
            return None
        most = info.data.get("max_replicas", constants.MAX_REPLICAS)
        if fallback.replicas > most:
            raise ValueError(f"replicas is {fallback.replicas}, above maxReplicas {most}")
        triggers = info.data.get("triggers", ())
        if not info.data.get("metrics") and triggers and all(trigger.type in RESOURCES for trigger in triggers):
            raise ValueError("KEDA falls back from none of cpu and memory; remove it, or add another trigger")
        return fallback


class SecretParameter(RoleSettings):
    """One parameter of a scaler out of a Secret."""

    parameter: str
    """The scaler's name for it: bearerToken, password ..."""
    name: DnsLabel
    """Secret in the same namespace."""
    key: str
    """Key in the Secret."""


class Authentication(RoleSettings):
    """How triggers prove who they are."""

    namespace: DnsLabel
    """A tenant's namespace; its jobs may use it."""
    name: DnsLabel
    """Name of the TriggerAuthentication."""
    secrets: tuple[SecretParameter, ...] = ()
    """Parameters out of Secrets, by reference: nothing secret stands in a stack file."""
    pod_identity: Literal["aws", "azure-workload", "gcp"] | None = Field(None, validate_default=True)
    """The cloud whose identity for pods KEDA's operator uses."""

    @field_validator("pod_identity")
    @classmethod
    def _one_way_in(cls, identity: str | None, info: ValidationInfo) -> str | None:
        if not identity and not info.data.get("secrets"):
            raise ValueError("there is nothing to prove with; give secrets or podIdentity")
        return identity


class Adapter(RoleSettings):
    """Metrics of pods for HorizontalPodAutoscalers."""

    enabled: StrictBool
    replicas: Annotated[StrictInt, Field(ge=1, le=5)]
    relist_seconds: Annotated[StrictInt, Field(ge=10, le=600)]


class Keda(RoleSettings):
    """Scaling to zero, and metrics from outside."""

    enabled: StrictBool
    replicas: Annotated[StrictInt, Field(ge=1, le=5)]


class PredictiveSettings(RoleSettings):
    """Replicas ahead of the load."""

    enabled: StrictBool
    interval_seconds: Annotated[StrictInt, Field(ge=1, le=60)]
    valid_seconds: Annotated[StrictInt, Field(ge=15, le=900)]
    history_days: Annotated[StrictInt, Field(ge=1, le=60)]
    image: str | None
    resources: dict[str, dict[str, str]]

    @field_validator("valid_seconds")
    @classmethod
    def _outlives_a_failure(cls, valid: int, info: ValidationInfo) -> int:
        interval = info.data.get("interval_seconds", 1)
        if valid < 3 * interval:
            raise ValueError(
                f"is {valid}, less than three times intervalSeconds {interval}: decisions would end before they are "
                "confirmed"
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
        """Whether the metrics adapter is wanted."""
        return self.enabled and self.adapter.enabled

    @property
    def has_keda(self) -> bool:
        """Whether KEDA is wanted."""
        return self.enabled and self.keda.enabled

    @property
    def has_scaler(self) -> bool:
        """Whether the predictive scaler is wanted."""
        return self.enabled and self.predictive.enabled
