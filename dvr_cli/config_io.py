"""From a preset, a TOML file and command-line options to `Settings`, and back to a TOML file.

Later sources win: the preset, then the file, then the options. A key is written with dots and indices
(`levels[0].voxels`). TOML has no null: the word "none" stands for it wherever a setting may be None.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dvr_cli.config import PRESETS, Settings
from dvr_cli.errors import ConfigError
from dvr_cli.files import write_text

NONE_WORD = "none"
DEFAULT_PRESET = "fast"
_LARGEST_FILE = 1_000_000


def resolve_settings(
    preset: str | None = None,
    config_file: Path | None = None,
    options: Mapping[str, Any] | None = None,
    base: Settings | None = None,
) -> Settings:
    """Settings from a preset, overridden by a TOML file, overridden by options.

    Without `preset` the file's own key `preset` decides, then `base` (settings of an earlier run, in place of a
    preset), then "fast". `options` maps keys of `Settings` to values; None means "not given", "none" sets None.
    Raises ConfigError on unknown keys, wrong types and values out of range, naming the key and where it stands.
    """
    from_file = _read_toml(config_file) if config_file is not None else {}
    given = {key: value for key, value in (options or {}).items() if value is not None}
    chosen = preset if preset is not None else from_file.get("preset")
    if chosen is None and base is not None:
        settings = base
    else:
        origin = "--preset" if preset is not None else str(config_file)
        settings = _preset(chosen if chosen is not None else DEFAULT_PRESET, origin)
    from_file.pop("preset", None)
    settings = _overridden(settings, from_file, str(config_file))
    return _overridden(settings, given, "the command line")


def read_settings(path: Path) -> Settings:
    """Settings from a TOML file, e.g. the `config.toml` of a run; keys it lacks come from the preset that it names."""
    return resolve_settings(config_file=path)


def write_settings(settings: Settings, path: Path) -> None:
    """Write all settings as TOML in one step; `read_settings` gives an equal object back."""
    import tomli_w

    header = "# The resolved configuration of a run. Use it again with: dvr reconstruct SCENE --config FILE\n"
    values = _none_to_word(settings.model_dump(mode="json"))
    write_text(path, header + tomli_w.dumps(values))


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """Dotted keys whose values differ, in the order of the settings."""
    flat_before, flat_after = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    keys = list(flat_before) + [key for key in flat_after if key not in flat_before]
    missing = object()
    return [key for key in keys if flat_before.get(key, missing) != flat_after.get(key, missing)]


def _preset(name: Any, origin: str) -> Settings:
    if isinstance(name, str) and name in PRESETS:
        return PRESETS[name]
    raise ConfigError(f"{origin}: there is no preset {name!r}. {_nearest(str(name), list(PRESETS))}")


def _read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; ConfigError when it cannot be read or is none."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(
                f"{path} is larger than 1 MB: expected a TOML file with settings (docs/configuration.md)."
            )
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error.strerror}. Check --config.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}. See docs/configuration.md for an example.") from error


def _overridden(settings: Settings, values: dict[str, Any], origin: str) -> Settings:
    """The settings with some values replaced; groups are merged key by key, lists are replaced as a whole."""
    if not values:
        return settings
    try:
        merged = _merged(settings.model_dump(mode="json"), _word_to_none(values, Settings))
        return Settings.model_validate(merged)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors(include_url=False)]
        raise ConfigError("\n".join(f"{origin}: {line}" for line in lines)) from error


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if nested else value
    return result


def _none_to_word(value: Any) -> Any:
    if value is None:
        return NONE_WORD
    if isinstance(value, dict):
        return {key: _none_to_word(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_none_to_word(item) for item in value]
    return value


def _word_to_none(value: Any, annotation: Any) -> Any:
    """Replace the word "none" by None wherever the annotation allows None."""
    if value == NONE_WORD and type(None) in get_args(annotation):
        return None
    model = _model_in(annotation)
    if isinstance(value, list):
        return [_word_to_none(item, model) for item in value]
    if isinstance(value, dict) and model is not None:
        fields = model.model_fields
        return {
            key: _word_to_none(item, fields[key].annotation) if key in fields else item for key, item in value.items()
        }
    return value


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `tuple[Level, ...]` or `Part | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and get_origin(annotation) is None:
        return annotation
    return next((model for model in map(_model_in, get_args(annotation)) if model is not None), None)


def _explain(problem: Any) -> str:
    """One problem found by pydantic, in the words of a user: key, value, what was expected."""
    location, kind = problem["loc"], problem["type"]
    key = _dotted(location)
    parent = _model_at(location[:-1])
    if kind == "extra_forbidden":
        known = list(parent.model_fields) if parent is not None else []
        prefix = key[: len(key) - len(str(location[-1]))]
        return f"unknown key {key!r}. {_nearest(str(location[-1]), known, prefix)}"
    if kind == "missing":
        return f"{key} is missing: a list of groups is replaced as a whole, so every key must be given."
    expected = _expected(parent, str(location[-1]) if location else "")
    return f"{key} = {problem['input']!r} cannot be used: {expected or problem['msg']}."


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model in which the last key of a location stands; None when the location leads elsewhere."""
    model: type[BaseModel] | None = Settings
    for step in location:
        if isinstance(step, int) or model is None:
            continue
        field = model.model_fields.get(step)
        model = _model_in(field.annotation) if field is not None else None
    return model


def _expected(model: type[BaseModel] | None, name: str) -> str:
    """The type and the range of a setting in words; empty when there is nothing to say."""
    field = model.model_fields.get(name) if model is not None else None
    if field is None:
        return ""
    optional = type(None) in get_args(field.annotation)
    alternatives = [kind for kind in get_args(field.annotation) if kind is not type(None)] or [field.annotation]
    if get_origin(field.annotation) is Literal:
        return "expected one of " + ", ".join(map(str, get_args(field.annotation)))
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    kind = " or ".join(words[item] for item in alternatives if item in words)
    if not kind:
        return ""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [(sign, getattr(limit, name, None)) for limit in field.metadata for name, sign in signs.items()]
    limits = [f"{sign} {bound}" for sign, bound in bounds if bound is not None]
    return f"expected {kind} {' and '.join(limits)}".rstrip() + (f', or "{NONE_WORD}"' if optional else "")


def _dotted(location: tuple[int | str, ...]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _nearest(name: str, known: list[str], prefix: str = "") -> str:
    """A sentence that names the nearest known name, or all of them when none is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {prefix + close[0]!r}?" if close else f"Known here: {', '.join(known)}."


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested groups and lists as one dictionary with dotted keys."""
    if isinstance(value, dict):
        pairs = [(f"{prefix}.{key}" if prefix else key, item) for key, item in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{prefix}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {prefix: value}
    return {name: leaf for key, item in pairs for name, leaf in _flat(item, key).items()}
