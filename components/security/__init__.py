"""Security: Pod Security Standards, admission policies, encryption between nodes, and their prerequisites.

The rules are in `inferstack.policy`. All modules but `component` are pure.
"""
