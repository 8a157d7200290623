"""The log, and progress of long loops."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
logger = logging.getLogger("ehap")
SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """Yield from ``items`` with a progress bar on a terminal; elsewhere with a log line every ten seconds."""
    if sys.stderr.isatty() and not logger.handlers:
        from tqdm import tqdm

        yield from tqdm(items, desc=label, total=total, dynamic_ncols=True)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if done == total or now - last >= SECONDS_BETWEEN_LINES:
            logger.info("%s: %d of %d, %.0f s", label, done, total, now - start)
            last = now
