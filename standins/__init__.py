"""Stand-ins for two plugins of Pulumi where the vendor's cannot be had: the Kubernetes provider and the Python host.

The engine finds them by name, as plugins; nothing imports this package. docs/providers.md lists what they implement.
"""
