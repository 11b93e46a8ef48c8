"""The state of a stack as a file: integrity, backups, allowed locations, and rotation of its passphrase."""
