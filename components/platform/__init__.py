"""The platform: all roles in their order."""

from components.platform.component import Platform
from components.platform.settings import PlatformSettings

__all__ = ["Platform", "PlatformSettings"]
