"""What the project knows and asks of AWS: instance types, EKS releases, quotas, and what a teardown left behind."""

from inferstack.aws import catalogue, leftovers, quotas

__all__ = ["catalogue", "leftovers", "quotas"]
