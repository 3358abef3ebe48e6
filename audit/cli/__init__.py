"""The command line: the options of each command, one file per command."""
