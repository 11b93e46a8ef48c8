"""A state service for the engine, on the files of its own file backend.

The engine's file backend writes the whole state twice for each resource, which makes an update of 300 resources spend
most of its time there. With its service the engine instead sends a journal: one small entry for each thing that
happens, written down before it goes on. `service` is that service for the length of one command; when the command is
over the state lies where and as the file backend keeps it, so every other command (and any other engine) reads it
there. A killed command leaves its journal, from which the next one makes the state: no more is lost than with the file
backend.
"""
