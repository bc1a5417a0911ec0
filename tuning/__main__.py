"""Run `sentune` as `python -m tuning`. Python requires this file, so it is short."""

from tuning.cli.app import main

if __name__ == "__main__":  # a process that multiprocessing spawns imports this file too
    main()
