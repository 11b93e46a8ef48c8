"""Network hardware: NIC models, ranges of SR-IOV virtual functions, and the switch topology above nodes. Pure."""
