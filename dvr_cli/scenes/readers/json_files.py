"""JSON files of strangers: a limited size, every way to fail one SceneError, and numbers that are finite."""

import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers.text_files import read_text

MAX_JSON_BYTES = 40_000_000
"""Forty thousand photographs. In memory a hostile file takes thirty times as much."""


def read_json_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds; SceneError if it is missing, too large, damaged or something else."""
    try:
        values = json.loads(read_text(path, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as cause:
        reason = "it is nested too deeply" if isinstance(cause, RecursionError) else str(cause)
        raise SceneError(
            f"{path} is no JSON that can be read: {reason}.\nExpected a JSON object; write it again."
        ) from cause
    if not isinstance(values, dict):
        raise SceneError(f"{path} holds a {type(values).__name__}: expected a JSON object, {{...}}.\nWrite it again.")
    return values


def listed_objects(values: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """The list of objects under `key`; SceneError if it is missing, empty or something else."""
    entries = values.get(key)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        found = f"a list of {len(entries)}" if isinstance(entries, list) else type(entries).__name__
        raise SceneError(
            f"{where}: expected {key!r} to be a list of objects, one per photograph; found {found}.\nWrite it again."
        )
    return entries


def number(values: Mapping[str, Any], key: str, where: str) -> float | None:
    """The number under `key`, None without one; SceneError for anything but a finite number."""
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    raise SceneError(f"{where}: {key} is {_shown(value)}: expected a finite number.\nWrite it again.")


def text(values: Mapping[str, Any], key: str, where: str) -> str | None:
    """The text under `key`, None without one; SceneError for anything else."""
    value = values.get(key)
    if value is None or isinstance(value, str):
        return value
    raise SceneError(f"{where}: {key} is {_shown(value)}: expected a text.\nWrite it again.")


def number_array(value: Any, shape: tuple[int, ...], what: str, where: str) -> Float[np.ndarray, "..."]:
    """Nested lists as an array of this shape; SceneError for another shape or anything that is no finite number."""
    flat = _flattened(value, shape)
    if flat is None or not all(math.isfinite(entry) for entry in flat):
        size = " x ".join(map(str, shape))
        raise SceneError(f"{where}: {what} is {_shown(value)}: expected {size} finite numbers.\nWrite it again.")
    return np.array(flat, dtype=np.float64).reshape(shape)


def _flattened(value: Any, shape: tuple[int, ...]) -> list[float] | None:
    if not shape:
        valid = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
        return [float(value)] if valid else None
    if not isinstance(value, list) or len(value) != shape[0]:
        return None
    parts = [_flattened(entry, shape[1:]) for entry in value]
    return None if any(part is None for part in parts) else [number for part in parts if part for number in part]


def _shown(value: Any) -> str:
    """The start of a value, for a message."""
    shown = reprlib.repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
