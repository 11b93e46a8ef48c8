"""Network: SR-IOV virtual functions and EFA devices for pods."""

from components.network.component import Network
from components.network.settings import NetworkSettings

__all__ = ["Network", "NetworkSettings"]
