"""Commands for policy as code. They may use every package below the command line."""
