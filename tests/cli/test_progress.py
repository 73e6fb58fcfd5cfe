"""What the progress line says."""

from __future__ import annotations

from zoo_core.cli.progress import losses


def test_losses_go_by_the_initials_of_their_phases():
    terms = {"discriminator/loss": 0.4213, "discriminator/r1": 9.0, "generator/loss": 1.3}
    assert losses(terms) == "D 0.42 G 1.3"


def test_phases_that_begin_alike_keep_their_names():
    assert losses({"head/loss": 1.0, "heart/loss": 2.0}) == "head 1 heart 2"
