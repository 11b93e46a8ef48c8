"""The simulated Fluid: status of Datasets, runtimes and DataLoads, and the volumes that serve them."""
