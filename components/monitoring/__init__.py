"""Monitoring: the Prometheus stack, its CRDs first, with rules, alerts and dashboards.

All modules but `component` are pure.
"""
