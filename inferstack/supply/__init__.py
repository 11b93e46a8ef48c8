"""What the project is made of: packages, modules, charts and images, their hashes, licences and newer versions."""
