"""The Prometheus operator as far as the rehearsal needs it: configuration of the real Prometheus and of its adapter.

It writes files in the folder of Prometheus, and the APIService of prometheus-adapter.
"""
