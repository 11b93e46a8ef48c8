"""Storage: models from buckets, cached on the nodes by Alluxio through Fluid."""
