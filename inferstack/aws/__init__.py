"""What the project knows and asks of AWS: instance types, EKS releases, quotas, and what a teardown left behind."""
