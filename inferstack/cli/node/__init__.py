"""Commands on the nodes of any cluster: list them, set their MIG layout, show the switches above them.

The commands that inject faults into simulated nodes are in `inferstack.cli.rehearsal`.
"""
