"""Mesh: Istio, with mutual TLS, the core metrics, and load balancing to the replicas of jobs.

All modules but `component` are pure.
"""
