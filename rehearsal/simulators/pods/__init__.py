"""Pods that run as processes on this machine, with the credentials of their service account.

It writes the status of their pods, and logs and run files in the state folder.
"""
