"""GPUs: the GPU operator, its MIG layouts, and the compatibility of drivers, kernels and GPUs.

All modules but `component` are pure. Facts about GPUs come from `inferstack.mig`.
"""
