"""NICs of simulated nodes: the settings and the hardware description for the node agent."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictInt, StringConstraints, model_validator

from components.settings import RoleSettings
from inferstack.network import nics

_Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}$")]


class Nic(RoleSettings):
    """A NIC by its PCI ids, or devices that are offered as they are."""

    vendor: _Id | None = None
    """PCI vendor id of a NIC that the SR-IOV operator may cut, such as 15b3. Its functions show once a policy
    makes them, and not before."""
    device_id: _Id | None = Field(None, alias="deviceID")
    """PCI device id, such as 101d (ConnectX-6 Dx)."""
    pf_names: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,14}$")], ...] = ()
    """Names of its ports; each is a physical function."""
    max_vfs: Annotated[StrictInt, Field(ge=0, le=256)] | None = None
    """Virtual functions that a port holds. Unset: what the model holds at most."""
    link_type: Literal["eth", "ib"] = "eth"
    """What its ports are."""
    resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9_.-]+$")] | None = None
    """Instead of the above: name of an extended resource that a plugin without policies offers, prefix included, such
    as vpc.amazonaws.com/efa."""
    vfs: Annotated[StrictInt, Field(ge=1, le=256)] | None = None
    """Number of such devices on a node."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.resource is not None:
            if self.vfs is None:
                raise ValueError("resource needs vfs, the number of devices")
            if self.vendor or self.device_id or self.pf_names or self.max_vfs is not None:
                raise ValueError(
                    "resource and vfs stand alone; a NIC with vendor and deviceID gets its resource by policy"
                )
            return self
        if self.vfs is not None or not (self.vendor and self.device_id and self.pf_names):
            raise ValueError("needs vendor, deviceID and pfNames, or else resource and vfs")
        matches = nics.find(self.vendor, self.device_id)
        if not matches and self.max_vfs is None:
            raise ValueError(f"nothing is known of NIC {self.vendor}:{self.device_id}; say its maxVfs")
        if matches and self.link_type not in matches[0].links:
            raise ValueError(f"a {matches[0].name} is {' or '.join(matches[0].links)} only, not {self.link_type}")
        return self

    def described(self) -> dict[str, Any]:
        """Return the hardware description for the node agent."""
        if self.resource is not None:
            return {"resource": self.resource, "vfs": self.vfs}
        model = next(iter(nics.find(self.vendor, self.device_id)), None)
        return {
            "vendor": self.vendor,
            "deviceID": self.device_id,
            "pfNames": list(self.pf_names),
            "maxVfs": self.max_vfs if self.max_vfs is not None else model.max_vfs if model else 0,
            "linkType": self.link_type,
        }
