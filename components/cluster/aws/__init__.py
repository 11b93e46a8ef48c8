"""EKS: networks, node groups, IAM roles and keys as inputs of AWS resources.

Builders and checks are pure; `build` and its callers register resources. The AWS API is read by `inferstack.aws`.
"""
