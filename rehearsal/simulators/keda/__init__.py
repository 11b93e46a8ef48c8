"""The simulated KEDA: the HorizontalPodAutoscalers of ScaledObjects.

The simulator writes the status of ScaledObjects, their HorizontalPodAutoscalers and the scale of paused targets.
"""
