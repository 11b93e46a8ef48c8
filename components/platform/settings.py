"""All settings of a stack, read and checked as a whole before anything is registered."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.addon import AddonSettings
from components.cluster import ClusterSettings, Place
from components.gpu import GpuSettings
from components.gpu.layouts import check_fleet, make_layouts
from components.inference import InferenceSettings
from components.inference.jobs import make_jobs
from components.settings import PROJECT, load_role
from components.tenancy import TenancySettings
from inferstack.errors import UserError

ROLES = ("cluster", "addon", "gpu", "tenancy", "inference")
"""The roles with settings, in the order in which they come up."""


@dataclass(frozen=True)
class PlatformSettings:
    """What a stack says, over the defaults."""

    place: Place
    cluster: ClusterSettings
    addon: AddonSettings
    gpu: GpuSettings
    layouts: Mapping[str, Any]
    """Content of the MIG manager's ``config.yaml``."""
    tenancy: TenancySettings
    inference: InferenceSettings

    @classmethod
    def load(cls, config: Mapping[str, Any]) -> PlatformSettings:
        """Check the project's configuration.

        Args:
            config: values by key without the project's name: ``place`` and one mapping for each role.

        Raises:
            UserError: naming each wrong key of the first role that has any, by its full path.
        """
        known = ("place", *ROLES)
        for key in config:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {PROJECT}:{close[0]}?" if close else f"known are {', '.join(known)}."
                raise UserError(f"{PROJECT}:{key}: unknown key; {hint}")
        place = _place(config.get("place"))
        cluster = load_role("cluster", ClusterSettings, config.get("cluster"))
        gpu = load_role("gpu", GpuSettings, config.get("gpu"))
        tenancy = load_role("tenancy", TenancySettings, config.get("tenancy"))
        inference = load_role("inference", InferenceSettings, config.get("inference"))
        addon = load_role("addon", AddonSettings, config.get("addon"))
        addon.check_place(place)
        layouts = make_layouts(gpu)
        check_fleet(layouts, cluster, gpu.mig.strategy)
        make_jobs(inference, tenancy.tenants)
        return cls(
            place=place,
            cluster=cluster,
            addon=addon,
            gpu=gpu,
            layouts=layouts,
            tenancy=tenancy,
            inference=inference,
        )


def _place(value: object) -> Place:
    offered = ", ".join(Place)
    if value is None:
        raise UserError(f"{PROJECT}:place: is required; this release offers {offered}.")
    try:
        return Place(str(value))
    except ValueError:
        raise UserError(f'{PROJECT}:place: this release does not offer "{value}"; it offers {offered}.') from None
