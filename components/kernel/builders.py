"""The objects of the kernel role, as pure functions."""

from __future__ import annotations

from typing import Any

from components.addon import AddonName
from components.kernel.settings import KernelSettings


def make_charts(_settings: KernelSettings) -> dict[AddonName, dict[str, Any]]:
    """Return the add-ons that these settings ask for, with the values of their charts."""
    return {}
