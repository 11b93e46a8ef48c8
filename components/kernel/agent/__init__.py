"""The agent that tunes the kernel of each selected node.

A ConfigMap ships this package, and pods run it as ``python -m agent``; it may import only the standard library. It
writes the host's sysctls, sysfs files, interrupt affinities and ``/dev/cpu_dma_latency``, and one state file; it
restores the original values when it stops.
"""
