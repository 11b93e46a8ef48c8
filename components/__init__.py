"""Roles: one folder each, see docs/."""
