"""The rules that stacks and Kubernetes objects are checked against: their model, evaluation and settings, all pure.

Used by the policy pack, the security role and the CLI. Nothing here reads or changes the world.
"""
