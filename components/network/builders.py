"""The objects of the network role, as pure functions."""

from __future__ import annotations

from typing import Any

from components.addon import AddonName
from components.network.settings import NetworkSettings


def make_charts(settings: NetworkSettings, *, monitored: bool) -> dict[AddonName, dict[str, Any]]:
    """Return the add-ons that these settings ask for, with the values of their charts.

    Args:
        settings: of the role.
        monitored: whether the kinds of the Prometheus operator are served, so that charts may bring monitors.
    """
    return {"sriov-network-operator": {}} if settings.enabled else {}
