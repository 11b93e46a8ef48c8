"""Commands for the rehearsal: its control plane, its simulated nodes and its load.

The one place in `inferstack`, apart from `inferstack.cli.stack.place`, that may import `rehearsal`.
"""
