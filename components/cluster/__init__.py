"""The cluster: where the program's objects go, and in the rehearsal its nodes."""

from components.cluster.component import Cluster
from components.cluster.settings import ClusterSettings, Place

__all__ = ["Cluster", "ClusterSettings", "Place"]
