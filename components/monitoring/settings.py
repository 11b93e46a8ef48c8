"""Settings of the monitoring role."""

from __future__ import annotations

from pydantic import StrictBool

from components.settings import RoleSettings


class MonitoringSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
