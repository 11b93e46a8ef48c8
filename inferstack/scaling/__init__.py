"""Scaling algorithms: forecast, plan for an SLO, bounds of the HPA, allocation of a GPU pool, simulator.

Everything here is pure: no I/O, no clock, and seeds are arguments.
"""
