"""Fill a file from a server: resumed where it broke off, and never longer than registered."""

from __future__ import annotations

import time

from zoo_core.data.progress import OnProgress
from zoo_core.weights.connection import Answer, Broken, failures, get, total_size
from zoo_core.weights.places import Place, Unavailable
from zoo_core.weights.store import Part

TRIES = 4  # without progress, of one place
BACKOFF = 1.0  # seconds before the second try; twice as long before each further one
MAX_WAIT = 60.0  # seconds; a server that asks for more is given up
PROGRESS = 1 << 16  # bytes that a try must bring to count as progress
CHUNK = 1 << 18  # bytes
MIN_RATE, WINDOW = 1000, 30.0  # bytes per second, over so many seconds; bounds the whole, too


def download(place: Place, part: Part, size: int, on_progress: OnProgress) -> None:
    """Fill `part` up to `size` bytes, from where it ends. Raises Unavailable.

    A connection that breaks is tried again as long as it brings the file forward.
    """
    reached, tries = part.size, 0
    while part.size < size:
        try:
            _receive(place, part, size, on_progress)
        except Broken as error:
            tries = 1 if part.size >= reached + PROGRESS else tries + 1
            if tries >= TRIES:
                raise Unavailable(f"{error}, {tries} times") from None
            _wait(error, tries)
        reached = max(reached, part.size)


def _wait(error: Broken, tries: int) -> None:
    wait = BACKOFF * 2 ** (tries - 1) if error.wait is None else error.wait
    if wait > MAX_WAIT:
        raise Unavailable(f"{error} and asks to wait {wait:.0f} s")
    time.sleep(wait)


def _receive(place: Place, part: Part, size: int, on_progress: OnProgress) -> None:
    """Append what one connection sends. Raises Broken or Unavailable."""
    asked = {"Range": f"bytes={part.size}-"} if part.size else {}
    with get(place, asked) as answer:
        if answer.status != 206 or _start(answer) != part.size:
            if answer.status != 200:
                part.restart()
                raise Broken("does not go on where it stopped")
            part.restart()
        _check_size(answer, size)
        part.is_whole = not part.size
        _append(answer, part, size, on_progress)
    if part.size < size:
        raise Broken(f"broke off after {part.size} of {size} bytes")


def _start(answer: Answer) -> int | None:
    """The position in the file at which an answer to a Range request starts."""
    text = answer.getheader("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(text) if text.isascii() and text.isdecimal() else None


def _check_size(answer: Answer, size: int) -> None:
    if answer.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Unavailable("sends a web page in place of the file: does the network ask to log in?")
    found = total_size(answer)
    if found not in (None, size):
        raise Unavailable(f"has a file of {found} bytes")


def _append(answer: Answer, part: Part, size: int, on_progress: OnProgress) -> None:
    since, before = time.monotonic(), part.size
    while True:
        with failures():
            data = answer.read1(CHUNK)
        if not data:
            return
        if part.size + len(data) > size:
            part.restart()
            raise Unavailable(f"sends more than {size} bytes")
        part.write(data)
        on_progress(part.size, size)
        now = time.monotonic()
        if now - since > WINDOW:
            if part.size - before < MIN_RATE * WINDOW:
                raise Broken(f"sends less than {MIN_RATE} bytes a second")
            since, before = now, part.size
