"""Binaries, CRDs and charts: located, downloaded or built, and kept in the cache folder.

May start processes and use the network through package registries; knows nothing of stacks or of the rehearsal.
"""
