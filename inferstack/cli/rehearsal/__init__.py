"""Commands on the rehearsal: its control plane, its load and the faults of its simulated nodes.

Only this package and `inferstack.cli.stack.control_plane` may import `rehearsal`.
"""
