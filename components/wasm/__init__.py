"""WebAssembly: a RuntimeClass for light inference, and the shim that serves it.

The program in ``agent`` runs on nodes with the standard library only. All other modules but `component` are pure.
"""
