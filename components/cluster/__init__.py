"""The cluster: where the program's objects go, and in the rehearsal its nodes."""
