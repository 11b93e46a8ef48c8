"""The rehearsal: a real Kubernetes control plane with simulated nodes and simulated load, on one machine.

`control_plane` runs the components as processes, `simulators` is the agent that simulates nodes and operators, `load`
simulates requests and metrics. The three are independent of each other; the modules beside them hold what they share.
"""
