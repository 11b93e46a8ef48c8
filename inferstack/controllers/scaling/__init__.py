"""Predictive scaling as a process of its own: what is measured goes in, decisions in ``status.scaling`` come out.

`signals` (what is asked of Prometheus), `prometheus` (how), `archive` (what was measured before), `calibrate` (what one
replica can do), `cluster` (pods, nodes and priorities), `forecasting` (a worker process that foresees), `deciding` (one
job), `loop` (all jobs, again and again), `status` (what is said of it), `app` (the process).
"""
