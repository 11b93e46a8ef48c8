"""Security: what pods may do, encryption between nodes, and what a cluster needs for it."""
