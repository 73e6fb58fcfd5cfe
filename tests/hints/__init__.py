"""Every hint of the zoo, each with a command that brings it up.

A hint is added in two steps: write it into the code, and a `Row` into the table of its topic. The
row names the place of the hint and a command that fails. tests/cli/test_hints_work.py runs that
command, does what the printed hint says, and expects it to work. A hint that no test can follow
stands in `unrun.py`, with the reason; tests/test_hints.py compares both with the code.
"""
