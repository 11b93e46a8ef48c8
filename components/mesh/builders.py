"""The objects of the mesh role, as pure functions."""

from __future__ import annotations

from typing import Any

from components.addon import AddonName
from components.mesh.settings import MeshSettings


def make_charts(settings: MeshSettings, *, monitored: bool) -> dict[AddonName, dict[str, Any]]:
    """Return the add-ons that these settings ask for, with the values of their charts.

    Args:
        settings: of the role.
        monitored: whether the kinds of the Prometheus operator are served, so that charts may bring monitors.
    """
    return {"istio-base": {}} if settings.enabled else {}
