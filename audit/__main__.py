"""Let `python -m audit` do what `audit` does."""

from audit.cli import main

main()
