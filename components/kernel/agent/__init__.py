"""What runs on each tuned node: only the standard library, shipped in a ConfigMap, started as ``python -m agent``."""
