"""Mesh: Istio, with mutual TLS, the 12 core metrics, and how requests find a replica that answers."""

from components.mesh.checks import check_mesh
from components.mesh.component import Mesh, Traffic
from components.mesh.settings import MeshSettings

__all__ = ["Mesh", "MeshSettings", "Traffic", "check_mesh"]
