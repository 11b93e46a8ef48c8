"""The platform: all roles in their order."""
