"""Pulumi on a machine where only package registries are reachable: the engine's environment and its plugins.

The vendor's plugins are used wherever they can be had; the stand-ins here fill in otherwise and add no behaviour of
their own. docs/providers.md has the table of what they do.
"""
