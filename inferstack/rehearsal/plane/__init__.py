"""The rehearsal's control plane: real Kubernetes components on loopback, started, watched and stopped as processes."""

from inferstack.rehearsal.plane.components import PLANE_TOOLS, tools_of
from inferstack.rehearsal.plane.keeper import Keeper
from inferstack.rehearsal.plane.model import Adapter, ComponentStatus, PlaneOptions
from inferstack.rehearsal.plane.rehearsal import Rehearsal

__all__ = ["PLANE_TOOLS", "Adapter", "ComponentStatus", "Keeper", "PlaneOptions", "Rehearsal", "tools_of"]
