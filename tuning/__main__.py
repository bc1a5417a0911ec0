"""`python -m tuning` is `sentune`."""

from tuning.cli import main

main()
