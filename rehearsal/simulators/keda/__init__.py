"""The simulated KEDA: the HorizontalPodAutoscalers of ScaledObjects.

It writes the status of ScaledObjects, their HorizontalPodAutoscalers and the scale of paused targets.
"""
