"""Inference: the InferenceJob CRD, the operator that reconciles it, and the jobs of the stack.

The operator's code is in `inferstack.controllers`; this package only deploys it.
"""
