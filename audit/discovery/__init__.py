"""Shortcuts that no suite names: proposed by a search that does not use the network, then tested as conditions of the run."""
