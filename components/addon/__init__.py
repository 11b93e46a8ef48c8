"""Add-ons: other people's operators, installed, found or rehearsed."""
