"""Security: what pods may do, encryption between nodes, and what a cluster needs for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.security.settings import SecuritySettings

if TYPE_CHECKING:
    from components.security.component import Security

__all__ = ["Security", "SecuritySettings"]


def __getattr__(name: str) -> Any:
    # When it is asked for: the policy pack reads the settings alone, and each preview waits for it.
    if name == "Security":
        from components.security.component import Security  # noqa: PLC0415  # see above

        return Security
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
