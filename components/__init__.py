"""The roles of the platform, one package each, and what they share.

A role's ``settings.py`` validates its settings (pure), ``defaults.yaml`` documents them, ``builders.py`` and its kin
return manifests (pure), ``component.py`` registers them with Pulumi. Roles may use the packages of ``inferstack`` below
the command line and the shared modules here. They import neither the rehearsal nor the stand-ins.
"""
