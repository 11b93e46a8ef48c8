"""The Pulumi engine: its environment and plugins, recovery from interrupted runs, and the journal of an update.

It may use the state and toolchain packages; it starts stand-ins by name, as plugins, and
never imports them.
"""
