"""Benchmarks: each prints ratios against a named peer, measured side by side in one run."""
