"""Checks in Python, for rules that CEL cannot express: AWS resources, and a stack as a whole. All are pure."""
