"""The simulated Prometheus operator, which configures the rehearsal's real Prometheus and its adapter.

The simulator writes files in the Prometheus folder, and the APIService of prometheus-adapter.
"""
