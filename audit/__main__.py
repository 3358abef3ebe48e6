"""Let `python -m audit` do what `audit` does."""

from audit.cli.main import main

main()
