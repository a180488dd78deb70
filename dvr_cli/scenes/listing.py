"""Names and numbers in a sentence."""

from collections.abc import Iterable

LONGEST = 120
"""Characters of a name that are shown: a camera file may hold anything."""
ENDING = 20
"""Of these, that are taken from its end, where the suffix is."""


def listed(names: Iterable[str], most: int = 6) -> str:
    """The first names, and how many more there are; it never ends in dots, so that a full stop may follow.

    >>> listed(["a.png", "b.png", "c.png"], most=2)
    'a.png, b.png and 1 more'
    >>> len(listed(["a" * 500]))
    123
    """
    names = list(names)
    shown = [
        name if len(name) <= LONGEST else f"{name[: LONGEST - ENDING]}...{name[-ENDING:]}" for name in names[:most]
    ]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def count_of(count: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun, and what else depends on it.

    >>> count_of(1, "view"), count_of(3, "view"), count_of(1, "mask is", "masks are")
    ('1 view', '3 views', '1 mask is')
    """
    return f"{count} {singular if count == 1 else plural or singular + 's'}"
