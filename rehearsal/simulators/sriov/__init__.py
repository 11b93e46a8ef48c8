"""The simulated SR-IOV network operator: virtual functions, node states, drains and networks."""
