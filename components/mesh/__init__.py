"""Mesh: Istio, with mutual TLS, the 12 core metrics, and how requests find a replica that answers."""
