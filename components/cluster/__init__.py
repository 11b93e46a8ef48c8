"""The cluster: access to an existing one, EKS on AWS in ``aws``, or simulated nodes in the rehearsal.

Settings, checks and builders are pure; `component` registers resources and provides the cluster's access.
"""
