"""Scaling policies on traces: share of requests within the service level, and GPU-hours."""
