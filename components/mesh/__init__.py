"""Mesh: Istio, with mutual TLS and the telemetry of the services."""

from components.mesh.component import Mesh
from components.mesh.settings import MeshSettings

__all__ = ["Mesh", "MeshSettings"]
