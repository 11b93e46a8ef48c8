"""Tenants: a namespace each, with limits, quotas, network policies and RBAC.

All modules but `component` are pure.
"""
