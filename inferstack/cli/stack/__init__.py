"""Commands on one stack: bring it up, inspect it, take it down. They may use every package below the command line."""
