"""The simulated SR-IOV network operator: virtual functions, node states, drains and networks.

It writes its own objects, NetworkAttachmentDefinitions, and annotations and cordons of nodes; it evicts pods.
"""
