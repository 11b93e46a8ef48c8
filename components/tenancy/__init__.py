"""Tenants: a namespace each, with limits, quotas, a closed network and rights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.tenancy.settings import TenancySettings

if TYPE_CHECKING:
    from components.tenancy.component import Tenancy

__all__ = ["Tenancy", "TenancySettings"]


def __getattr__(name: str) -> Any:
    # When it is asked for: the policy pack reads the settings alone, and each preview waits for it.
    if name == "Tenancy":
        from components.tenancy.component import Tenancy  # noqa: PLC0415  # see above

        return Tenancy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
