"""Kernel: settings of the nodes for low network latency, with a dry run and a way back."""
