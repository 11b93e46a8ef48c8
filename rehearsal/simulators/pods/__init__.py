"""Pods that run as processes on this machine, with the credentials of their service account.

The controller writes the status of these pods, and logs and run files in the state folder.
"""
