"""Autoscaling: KEDA, the metrics that HorizontalPodAutoscalers read, and the jobs that KEDA scales."""
