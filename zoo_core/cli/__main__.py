"""`python -m zoo_core.cli`: run `zoo` where its script is not installed."""

from zoo_core.cli import main

main()
