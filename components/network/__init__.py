"""Network: SR-IOV virtual functions, EFA devices, and the topology labels of nodes.

All modules but `component` are pure. Facts about NICs come from `inferstack.network`.
"""
