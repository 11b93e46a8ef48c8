"""Pods that run as processes on this machine, with the credentials of their service account."""
