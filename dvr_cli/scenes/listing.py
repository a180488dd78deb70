"""Names in a sentence."""

from collections.abc import Sequence


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and that there are more.

    >>> listed(["a.png", "b.png", "c.png"], most=2)
    'a.png, b.png, ...'
    """
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
