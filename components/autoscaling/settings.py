"""Settings of the autoscaling role."""

from __future__ import annotations

from pydantic import StrictBool

from components.settings import RoleSettings


class AutoscalingSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
