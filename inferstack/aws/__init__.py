"""AWS: instance types, EKS releases, list prices, quotas, and leftovers of a teardown.

The catalogue and the cost estimate are pure. Quotas and leftovers call AWS APIs with boto3, read-only.
"""

from inferstack.aws import catalogue, leftovers, quotas

__all__ = ["catalogue", "leftovers", "quotas"]
