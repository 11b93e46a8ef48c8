"""GPUs: the operator that makes them usable, how they are cut, which layouts there are."""
