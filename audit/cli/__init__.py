"""The command line: options of each command, in a file a command."""
