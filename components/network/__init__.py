"""Network: SR-IOV virtual functions and EFA devices for pods, and the switches above their nodes."""

from components.network.component import Network, TenantNetworks
from components.network.settings import NetworkSettings

__all__ = ["Network", "NetworkSettings", "TenantNetworks"]
