"""Settings of the inference role."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt

from components.settings import DnsLabel, RoleSettings


class JobMetadata(RoleSettings):
    """Name and place of a job."""

    name: DnsLabel
    """Name of the job and of what is made for it."""
    namespace: DnsLabel | None = None
    """A tenant's namespace."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the job."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of the job."""


class Job(RoleSettings):
    """One InferenceJob."""

    metadata: JobMetadata
    """Name and place."""
    spec: dict[str, Any]
    """The spec of the InferenceJob; checked against its model, field by field."""


class OperatorSettings(RoleSettings):
    """How the operator runs."""

    image: str | None
    resources: dict[str, dict[str, str]]


class InferenceSettings(RoleSettings):
    """See defaults.yaml."""

    operator: OperatorSettings
    jobs: tuple[Job, ...]
    job_namespace: DnsLabel | None
    wait_for_ready: StrictBool
    wait_seconds: Annotated[StrictInt, Field(ge=1, le=86400)]
