"""Comparison of scaling policies on traces: SLO attainment and GPU-hours. Runs the pure algorithms in a simulator."""
