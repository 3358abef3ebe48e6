"""Shortcuts that nobody named: proposed by a search that does not know the network, then tested as conditions of the run."""
