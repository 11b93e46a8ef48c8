"""Add-ons: third-party operators as Helm releases, found in the cluster, or as CRDs only in the rehearsal.

The plan is pure; `detect` reads the cluster through the Kubernetes client, `component` registers resources.
"""
