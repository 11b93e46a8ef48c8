"""A state service for the engine, on the files of the engine's own file backend.

The file backend writes the whole checkpoint twice for each resource, which is most of the time of an update of 300
resources. With its service backend the engine sends a journal instead: one small entry for each event, which is durable
before the engine continues. `service` is such a service for the length of one command. When the command ends the
checkpoint is where the file backend keeps it, so other commands and engines can read it. A killed command leaves its
journal, which the next command replays: no more is lost than with the file backend.
"""
