"""The rehearsal's control plane: real Kubernetes components on loopback, started, watched and stopped as processes."""

from rehearsal.control_plane.components import PLANE_TOOLS, tools_of
from rehearsal.control_plane.keeper import Keeper
from rehearsal.control_plane.model import Adapter, ComponentStatus, PlaneOptions
from rehearsal.control_plane.rehearsal import Rehearsal

__all__ = ["PLANE_TOOLS", "Adapter", "ComponentStatus", "Keeper", "PlaneOptions", "Rehearsal", "tools_of"]
