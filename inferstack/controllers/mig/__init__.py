"""Carries out MigRollouts: other MIG layouts, node by node, within the disruption budgets of what runs there.

`decide` holds the decisions and does no I/O; `controller` observes, writes down what was decided, and then does it.
"""
