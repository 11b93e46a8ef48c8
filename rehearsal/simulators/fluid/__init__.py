"""The simulated Fluid: status of Datasets, runtimes and DataLoads, and the volumes that serve them.

The simulator writes the status of Fluid's kinds, PersistentVolumes and PersistentVolumeClaims.
"""
