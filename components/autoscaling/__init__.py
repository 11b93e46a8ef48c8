"""Autoscaling: KEDA and the metrics that HorizontalPodAutoscalers read."""

from components.autoscaling.component import Autoscaling
from components.autoscaling.settings import AutoscalingSettings

__all__ = ["Autoscaling", "AutoscalingSettings"]
