"""Add-ons: other people's operators, installed, found or rehearsed."""

from components.addon import detect
from components.addon.catalogue import AddonName
from components.addon.component import Addon, namespaces
from components.addon.plan import Addons, make_addons
from components.addon.settings import AddonSettings, Mode

__all__ = ["Addon", "AddonName", "AddonSettings", "Addons", "Mode", "detect", "make_addons", "namespaces"]
