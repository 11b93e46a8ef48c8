"""The rehearsal's control plane: real Kubernetes components that run as processes and listen on loopback only.

The package starts, restarts and stops them, and writes their certificates, kubeconfigs and ports. It touches only the
state folder and the processes that it started.
"""

from rehearsal.control_plane.components import PLANE_TOOLS, required_tools
from rehearsal.control_plane.model import Adapter, ComponentStatus, PlaneOptions
from rehearsal.control_plane.rehearsal import Rehearsal
from rehearsal.control_plane.supervisor import Supervisor

__all__ = ["PLANE_TOOLS", "Adapter", "ComponentStatus", "PlaneOptions", "Rehearsal", "Supervisor", "required_tools"]
