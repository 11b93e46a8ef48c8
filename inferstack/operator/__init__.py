"""Deprecated module path of the controllers, kept for one release: Deployments of the previous one run it.

Removed in 0.3.0. Use `python -m inferstack.controllers`.
"""
