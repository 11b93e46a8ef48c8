"""The simulated KEDA: the HorizontalPodAutoscalers of ScaledObjects."""
