"""`python -m audit`: the same as the command `audit`."""

from audit.cli.main import main

main()
