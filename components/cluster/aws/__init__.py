"""The place aws: an EKS cluster from nothing."""
