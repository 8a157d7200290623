"""The smallest case of a kind: hypothesis's idea for cases that were drawn without it."""

from collections.abc import Callable, Sequence
from random import Random

from tests.pruning.random_networks.strategy import Case, Integer


class Recorded:
    """Draws numbers from a generator and notes them, or gives noted ones again: the lowest where none is left."""

    def __init__(self, random: Random | None = None, choices: Sequence[int] = ()) -> None:
        self._random, self._left, self.choices = random, list(choices), []

    def __call__(self, low: int, high: int) -> int:
        """Return a number from low to high."""
        if self._random:
            number = self._random.randint(low, high)
        else:
            number = low + self._left.pop(0) if self._left else low
            number = min(number, high)
        self.choices.append(number - low)
        return number


def shrunk(
    choices: Sequence[int], draw: Callable[[Integer], Case], wanted: Callable[[Case], bool], tries: int = 400
) -> Case:
    """Return a small case that is still wanted: some choices left out, others at their lowest.

    Args:
        choices: Of a case that is wanted.
        draw: Makes a case of choices.
        wanted: Whether a case is of the kind.
        tries: At most so many cases are looked at.
    """
    best, left = list(choices), tries

    def better(candidate: list[int]) -> bool:
        nonlocal best, left
        recorded = Recorded(choices=candidate)
        found = draw(recorded)
        smaller = (len(recorded.choices), recorded.choices) < (len(best), best)
        left -= smaller
        if smaller and wanted(found):
            best = recorded.choices
            return True
        return False

    size = max(1, len(best) // 2)
    while left > 0:
        changed, place = False, 0
        while place < len(best) and left > 0:
            part = best[place : place + size]
            gone = better(best[:place] + best[place + size :])
            gone = gone or (any(part) and better(best[:place] + [0] * len(part) + best[place + size :]))
            changed = changed or gone
            place += size
        if size == 1 and not changed:
            break
        size = max(1, size // 2) if not changed or size > 1 else 1
    return draw(Recorded(choices=best))
