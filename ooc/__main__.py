"""Run the command line as ``python -m ooc``."""

from ooc.cli import run

run()
