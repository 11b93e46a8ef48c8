"""Add-ons: other people's operators, installed, found or rehearsed."""

from components.addon.component import Addon
from components.addon.settings import AddonSettings, Mode

__all__ = ["Addon", "AddonSettings", "Mode"]
