"""Monitoring: the Prometheus stack, its kinds first."""

from components.monitoring.component import Monitoring
from components.monitoring.settings import MonitoringSettings

__all__ = ["Monitoring", "MonitoringSettings"]
