"""NICs, ranges of virtual functions and the switches above nodes, as pure code."""
