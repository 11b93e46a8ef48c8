"""Autoscaling: KEDA, prometheus-adapter for the custom metrics API, and the predictive scaler.

Other roles use `triggers` and the settings; only `component` registers resources.
"""
