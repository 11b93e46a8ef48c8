"""Storage: models in buckets, cached on the nodes by Alluxio, which Fluid manages.

All modules but `component` are pure.
"""
