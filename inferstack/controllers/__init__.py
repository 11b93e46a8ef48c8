"""The controllers of Inferstack, each in a sub-package that imports none of the others.

`jobs` reconciles InferenceJobs, `mig` runs MigRollouts, `scaling` is the predictive scaler. `python -m
inferstack.controllers` runs jobs and MIG rollouts in one process; `python -m inferstack.controllers.scaling` runs the
scaler. They talk to the API server through `inferstack.k8s` and take decisions with the pure packages.
"""
