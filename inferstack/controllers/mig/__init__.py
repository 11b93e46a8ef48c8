"""The controller of MigRollouts: it changes the MIG layouts of nodes one after another, within disruption budgets.

`decision`, `eligibility` and `node_steps` are pure. `informers` observes the cluster; `controller` writes each decision
to the rollout's status before `executor` carries it out.
"""
