"""Mistakes in a file of settings, in the words of a user: the key, its value, and what was expected.

pydantic finds them; its own sentences are about its types and not about the file. A key is written with dots and
indices (`levels[0].voxels`).
"""

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

_SINGULAR = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
_PLURAL = {int: "whole numbers", float: "numbers", str: "texts", bool: "true or false"}
_LONGEST_VALUE = 80
"""Characters of a value that are shown: a file may hold anything."""
_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def mistakes(error: ValidationError, model: type[BaseModel], none_word: str | None = None) -> list[str]:
    """One sentence for each mistake that validating a file as `model` has found.

    `none_word`: the text that stands for None in such a file, if one does.
    """
    problems = error.errors(include_url=False)
    places = [problem["loc"] for problem in problems]
    # A list of which an item is wrong is called too short as well, because that item does not count.
    told = [problem for problem in problems if not any(_is_within(place, problem["loc"]) for place in places)]
    return [_sentence(problem, model, none_word) for problem in told]


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `tuple[Level, ...]` or `Part | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and get_origin(annotation) is None:
        return annotation
    return next((model for model in map(model_in, get_args(annotation)) if model is not None), None)


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A sentence that names the nearest known name, or all of them when none is near.

    >>> nearest("sed", ["seed", "steps"])
    "Did you mean 'seed'?"
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {prefix + close[0]!r}?" if close else f"Known here: {', '.join(names)}."


def _is_within(place: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    """Whether `place` lies below `other`, and not at it."""
    return len(place) > len(other) and place[: len(other)] == other


def _sentence(problem: Any, model: type[BaseModel], none_word: str | None) -> str:
    location, kind = problem["loc"], problem["type"]
    key = _dotted(location)
    parent = model_in(_found(model, location[:-1])[0]) if location else None
    if kind == "extra_forbidden":
        known = list(parent.model_fields) if parent is not None else []
        return f"unknown key {key!r}. {nearest(str(location[-1]), known, key[: len(key) - len(str(location[-1]))])}"
    expected = _expected(*_found(model, location), none_word)
    if kind == "missing":
        return f"{key} is missing: expected {expected}."
    if kind == "value_error":
        said = str(problem["ctx"]["error"])
        return f"{key}: {said}." if key else f"{said}."
    value = repr(problem["input"])
    shown = value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}..."
    return f"{key} = {shown} cannot be used: expected {expected}."


def _found(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The annotation and the constraints of what stands at a location; `Any` when it leads elsewhere."""
    annotation: Any = model
    constraints: tuple[Any, ...] = ()
    for step in location:
        here = _without_none(annotation)
        if isinstance(step, int):
            annotation, constraints = (get_args(here) or (Any,))[0], ()
        else:
            held = model_in(here)
            field: FieldInfo | None = None if held is None else held.model_fields.get(step)
            annotation, constraints = (Any, ()) if field is None else (field.annotation, tuple(field.metadata))
        if get_origin(annotation) is Annotated:
            annotation, *extra = get_args(annotation)
            constraints = tuple(one for info in extra for one in getattr(info, "metadata", (info,)))
    return annotation, constraints


def _without_none(annotation: Any) -> Any:
    """The first alternative of an annotation that is not None."""
    if type(None) not in get_args(annotation):
        return annotation
    return next(kind for kind in get_args(annotation) if kind is not type(None))


def _expected(annotation: Any, constraints: tuple[Any, ...], none_word: str | None) -> str:
    """The type and the range of a setting in words."""
    optional = type(None) in get_args(annotation)
    kind = _without_none(annotation)
    bounds = [(sign, getattr(limit, name, None)) for limit in constraints for name, sign in _SIGNS.items()]
    limits = " and ".join(f"{sign} {bound}" for sign, bound in bounds if bound is not None)
    words = f"{_kind(kind)} {limits}".rstrip() + _lengths(constraints, "character" if kind is str else "item")
    return words + (f', or "{none_word}"' if optional and none_word is not None else "")


def _lengths(constraints: tuple[Any, ...], item: str) -> str:
    """How many items a list, or characters a text, may have; empty where nothing says so."""
    least, most = (_constraint(constraints, name) for name in ("min_length", "max_length"))
    if least is None and most is None:
        return ""
    count = f"at most {most}" if least is None else f"at least {least}" if most is None else f"{least} to {most}"
    return f" with {count} {item}{'' if count.endswith(' 1') else 's'}"


def _kind(kind: Any) -> str:
    """What a value is, in words."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if get_origin(item) is Annotated:
            item = get_args(item)[0]
        return f"a list of {_PLURAL.get(item, 'groups')}"
    return _SINGULAR.get(kind, "a group of keys")


def _constraint(constraints: tuple[Any, ...], name: str) -> int | None:
    return next((limit for limit in (getattr(one, name, None) for one in constraints) if limit is not None), None)


def _dotted(location: tuple[int | str, ...]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
