"""Commands for the supply chain: tools, CRDs, charts, images, versions and the SBOM."""
