"""The MIG planner against brute force, bounds and named peers; all fleets and pods here are simulated."""
