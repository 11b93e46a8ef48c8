"""Simulated nodes: what kubelet, NFD, GFD, the MIG manager and the device plugins would write."""
