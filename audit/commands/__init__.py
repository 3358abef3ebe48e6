"""What each command does after the command line was parsed; torch is imported here, not in `audit.cli.main`."""
