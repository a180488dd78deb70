"""Python's values as JSON can say them: numpy's scalars and arrays, paths, tuples; no NaN and no infinity."""

import math
from pathlib import PurePath
from typing import Any

import numpy as np


def json_ready(value: Any) -> Any:
    """The same value made of dicts, lists, texts, finite numbers, booleans and None.

    Numbers that are not finite become None; keys become texts; what JSON has no word for becomes its `str`.

    >>> json_ready({"trims": (0, float("inf")), 7: np.float32(0.5)})
    {'trims': [0, None], '7': 0.5}
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_ready(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return finite_or_none(value)
    return value.as_posix() if isinstance(value, PurePath) else str(value)


def finite_or_none(value: Any) -> float | None:
    """A float, or None for None and for what is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)
