"""What a GPU can be cut into: the catalogue of GPUs, placement, mig-parted layouts, resources and labels. Pure."""
