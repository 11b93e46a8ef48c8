"""The controllers of Inferstack, each in a sub-package that imports none of the others.

`jobs` reconciles InferenceJobs, `mig` runs MigRollouts, `scaling` is the predictive scaler. `python -m
inferstack.controllers` runs jobs and MIG rollouts in one process; `python -m inferstack.controllers.scaling` runs the
scaler. They use the API server through `inferstack.k8s` and make decisions with the pure packages.
"""
