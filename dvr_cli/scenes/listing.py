"""Names in a sentence."""

from collections.abc import Iterable

LONGEST = 120
"""Characters of a name that are shown: a camera file may hold anything."""


def listed(names: Iterable[str], most: int = 6) -> str:
    """The first names, and that there are more.

    >>> listed(["a.png", "b.png", "c.png"], most=2)
    'a.png, b.png, ...'
    """
    shown = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names]
    return ", ".join(shown[:most]) + (", ..." if len(shown) > most else "")
