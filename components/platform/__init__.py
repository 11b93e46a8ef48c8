"""The platform: all roles in the order of their dependencies.

It is the only package of `components` that imports every role.
"""
