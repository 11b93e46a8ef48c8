"""A stand-in for ``pulumi-resource-kubernetes``, the vendor's provider of Kubernetes resources.

It speaks the provider protocol (pulumi/proto/provider.proto) and does what the vendor's provider does with
server-side apply on, which is its default. State written by one can be read by the other.
"""
