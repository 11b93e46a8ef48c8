"""The simulated Fluid: status of Datasets, runtimes and DataLoads, and the volumes that serve them.

It writes the status of its own kinds, PersistentVolumes and PersistentVolumeClaims.
"""
