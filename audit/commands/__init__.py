"""What each command does, once the command line is read; torch is imported here and not in `audit.cli.main`."""
