"""The agent that installs the Wasm shim on each selected node.

A ConfigMap ships this package, and pods run it as ``python -m agent``; it may import only the standard library. It
writes the shim's binary and one block of containerd's configuration, restarts containerd, and can undo both.
"""
