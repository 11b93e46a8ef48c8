"""Simulated nodes: what kubelet, NFD, GFD, the MIG manager and the device plugins would write.

The simulators write the labels, annotations and status of Nodes, and the status of ClusterPolicies and Services.
"""
