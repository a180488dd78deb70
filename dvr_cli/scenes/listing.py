"""Names in a sentence."""

from collections.abc import Iterable

LONGEST = 120
"""Characters of a name that are shown: a camera file may hold anything."""


def listed(names: Iterable[str], most: int = 6) -> str:
    """The first names, and that there are more.

    >>> listed(["a.png", "b.png", "c.png"], most=2)
    'a.png, b.png, ...'
    >>> len(listed(["a" * 500]))
    123
    """
    names = list(names)
    shown = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names[:most]]
    return ", ".join(shown) + (", ..." if len(names) > most else "")
