"""`python -m zoo_core.cli`: the command, where no script is installed."""

from zoo_core.cli import main

main()
