"""Inferstack: a production GPU inference platform on Kubernetes as one Pulumi program."""
