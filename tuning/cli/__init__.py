"""The command line: one Typer app, its options and its commands."""
