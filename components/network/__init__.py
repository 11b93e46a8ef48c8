"""Network: SR-IOV virtual functions and EFA devices for pods, and the switches above their nodes."""
