"""The objects of the monitoring role, as pure functions."""

from __future__ import annotations

from typing import Any

from components.addon import AddonName
from components.monitoring.settings import MonitoringSettings


def make_charts(settings: MonitoringSettings) -> dict[AddonName, dict[str, Any]]:
    """Return the add-ons that these settings ask for, with the values of their charts."""
    return {"kube-prometheus-stack": {}} if settings.enabled else {}
