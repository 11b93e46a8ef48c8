"""Autoscaling: KEDA, the metrics that HorizontalPodAutoscalers read, and the jobs that KEDA scales."""

from components.autoscaling.component import Autoscaling, PredictiveScaler, ScaledObjects
from components.autoscaling.settings import AutoscalingSettings

__all__ = ["Autoscaling", "AutoscalingSettings", "PredictiveScaler", "ScaledObjects"]
