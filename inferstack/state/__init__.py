"""A stack's state as a file: its integrity, its backups, where it may be kept, and the rotation of its passphrase."""
