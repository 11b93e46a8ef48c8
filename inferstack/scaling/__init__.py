"""How many replicas each job should have: forecast, plan for a service level, bounds of the HPA. Pure."""
