"""Commands for MIG: tables, plans, rollouts and usage. They may use every package below the command line."""
