"""The rehearsal's control plane: real Kubernetes components on loopback, started, watched and stopped as processes."""

from inferstack.rehearsal.plane.components import PLANE_TOOLS
from inferstack.rehearsal.plane.keeper import Keeper
from inferstack.rehearsal.plane.model import ComponentStatus
from inferstack.rehearsal.plane.rehearsal import Rehearsal

__all__ = ["PLANE_TOOLS", "ComponentStatus", "Keeper", "Rehearsal"]
