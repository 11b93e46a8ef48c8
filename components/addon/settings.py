"""Settings of the addon role."""

from __future__ import annotations

import enum
from typing import Annotated, Any

from pydantic import Field, StrictInt

from components.addon.catalogue import AddonName
from components.cluster.settings import Place
from components.settings import PROJECT, RoleSettings
from inferstack.errors import UserError


class Mode(enum.StrEnum):
    """How an add-on comes into the cluster."""

    AUTO = "auto"
    CHART = "chart"
    PRESENT = "present"
    REHEARSED = "rehearsed"


class AddonSettings(RoleSettings):
    """See defaults.yaml."""

    mode: Mode
    modes: dict[AddonName, Mode]
    values: dict[AddonName, dict[str, Any]]
    mirror: str | None
    timeout_seconds: Annotated[StrictInt, Field(ge=30, le=7200)]

    def check_place(self, place: Place) -> None:
        """Refuse what the place cannot be: nothing plays an add-on's controllers on a real cluster.

        Raises:
            UserError: naming the key that asks for it.
        """
        if place is Place.LOCAL:
            return
        for key, mode in {"mode": self.mode, **{f"modes.{name}": mode for name, mode in self.modes.items()}}.items():
            if mode is Mode.REHEARSED:
                raise UserError(
                    f"{PROJECT}:addon.{key}: rehearsed is for the place local only, here it is {place}; "
                    "use chart, present or auto."
                )

    def mode_of(self, name: AddonName) -> Mode:
        """Return the mode asked for, which may be auto."""
        return self.modes.get(name, self.mode)
