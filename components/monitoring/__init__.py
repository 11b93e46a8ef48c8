"""Monitoring: the Prometheus stack, its kinds first."""
