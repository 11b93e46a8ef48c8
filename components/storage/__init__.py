"""Storage: models in buckets, cached on the nodes by Alluxio through Fluid.

All modules but `component` are pure.
"""
