"""Alarms raised from the log of a run, each with what to try.

    logits      the logits of real and generated images drift apart: the discriminator has won
    overfit     the discriminator has memorized its training images (r_t of Karras et al. 2020a)
    diversity   generated images vary far less than real ones: mode collapse
    distance    the Frechet distance has risen and stays up

Alarms are a function of the lines of `log.jsonl` so far. A resume reads the log again to restore
them, so they need not be saved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from zoo_core.spec import Alarm

LINES = 16  # of the log that the first two alarms use
GAP = 7.0  # mean gap of the logits: generated images pass as real in one of a thousand cases
OVERFIT = 0.95  # mean sign of the real logits; ADA holds it at 0.6
DIVERSITY = 0.3  # of generated images; real ones have 1
RISE_FACTOR = 1.2  # times the smallest distance so far
PATIENCE = 3  # consecutive evaluations
BEST = "the weights in best.safetensors"  # what to go back to
COLLAPSED = frozenset({"logits", "diversity", "distance"})  # a run does not recover from these


class Alarms:
    """Reads the lines of a log in order and returns the alarms that each one raises.

    An alarm is raised once, and again only after it has ended.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.active: dict[str, Alarm] = {}
        self._lines: deque[Mapping[str, Any]] = deque(maxlen=LINES)
        self._distances: list[float] = []
        self._diversity: float | None = None
        self._protocol: str | None = None  # of the distances

    @property
    def collapsed(self) -> list[Alarm]:
        """Active alarms that a run does not recover from."""
        return [alarm for name, alarm in self.active.items() if name in COLLAPSED]

    def observe(self, line: Mapping[str, Any]) -> list[Alarm]:
        """The alarms that begin with this line, which holds `images` and the terms as logged.

        A change of the settings ends all of them: what is to be judged begins with it.
        """
        if "change" in line:
            self._begin()
            return []
        self._diversity = line.get("evaluation/diversity", self._diversity)
        if line.get("evaluation/protocol", self._protocol) != self._protocol:
            self._protocol = line["evaluation/protocol"]
            self._distances.clear()
        if "evaluation/fd" in line:
            self._distances.append(line["evaluation/fd"])
        if "discriminator/real_logits" in line:
            self._lines.append(line)
        before, found = self.active, {alarm.name: alarm for alarm in self._current()}
        self.active = found
        return [alarm for name, alarm in found.items() if name not in before]

    def _current(self) -> Iterator[Alarm]:
        if len(self._lines) == LINES:
            yield from self._discriminator()
        if self._diversity is not None and self._diversity < DIVERSITY:
            yield Alarm(
                "diversity",
                f"generated images vary only {self._diversity:.2f} times as much as real ones",
                "a lower learning rate, a larger penalty, or no truncation",
            )
        best = min(self._distances, default=0.0)
        recent = self._distances[-PATIENCE:]
        if len(self._distances) > PATIENCE and min(recent) > RISE_FACTOR * best:
            yield Alarm(
                "distance",
                f"the Frechet distance has risen from {best:.4g} to {recent[-1]:.4g}",
                f"{BEST}; --change augment=ada if there are few images",
            )

    def _discriminator(self) -> Iterator[Alarm]:
        gaps = [line["discriminator/real_logits"] - line["discriminator/fake_logits"]
                for line in self._lines]  # fmt: skip
        half = LINES // 2
        gap, earlier, later = (sum(g) / len(g) for g in (gaps, gaps[:half], gaps[half:]))
        if gap > GAP and later >= earlier:
            yield Alarm(
                "logits",
                f"the logits of real and generated images drift apart, by {later:.2g} now: the "
                "discriminator has won",
                "a larger penalty (R1, R2), a lower learning rate, or a narrower discriminator",
            )
        signs = [line["discriminator/real_signs"] for line in self._lines
                 if "discriminator/real_signs" in line]  # fmt: skip
        if signs and sum(signs) / len(signs) > OVERFIT:
            yield Alarm(
                "overfit",
                f"the discriminator classifies {(1 + sum(signs) / len(signs)) / 2:.1%} of the real "
                "images as real: it may have memorized them",
                "--change augment=ada, --change mirror=true, or more images",
            )
