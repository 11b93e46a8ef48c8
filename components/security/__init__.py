"""Security: what pods may do, encryption between nodes, and what a cluster needs for it."""

from components.security.component import Security
from components.security.settings import SecuritySettings

__all__ = ["Security", "SecuritySettings"]
