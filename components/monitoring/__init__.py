"""Monitoring: the Prometheus stack and its CRDs, with rules, alerts and dashboards.

All modules but `component` are pure.
"""
