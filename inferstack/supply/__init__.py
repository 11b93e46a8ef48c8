"""The supply chain: Python packages, Go modules, charts and images, with hashes, licences and newer versions.

The package reads lock files and ``versions.yaml``. Only `outdated` starts processes, which query registries.
"""
