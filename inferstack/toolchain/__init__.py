"""External binaries, CRDs and Helm charts: located, downloaded or built, and kept in the cache folder.

The package may start processes and use the network through package registries. It does not know about stacks.
"""
