"""What runs on each node that gets the shim: only the standard library, shipped in a ConfigMap, ``python -m agent``."""
