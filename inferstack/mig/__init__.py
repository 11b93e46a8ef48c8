"""NVIDIA MIG as data: the GPU catalogue, placement, mig-parted layouts, resources, labels, usage, cost, fragmentation.

`inferstack.mig.planner` searches for the instances that each GPU of a fleet should carry. The package is pure: no I/O
beyond its own data files, no clock, no randomness.
"""
