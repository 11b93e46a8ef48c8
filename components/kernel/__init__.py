"""Kernel: node settings for low network latency, with a dry run and a restore.

The program in ``agent`` runs on nodes with the standard library only. All other modules but `component` are pure.
"""
