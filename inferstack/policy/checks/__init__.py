"""Checks that CEL cannot say: of what is registered at AWS, and of a stack as a whole. All pure."""
