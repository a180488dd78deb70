"""From a preset, a TOML file and command-line options to `Settings`, and back to a TOML file.

Later sources win: the preset, then the file, then the options. A key is written with dots and indices
(`levels[0].voxels`). TOML has no null: the word "none" stands for it wherever a setting may be None.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from dvr_cli.config import PRESETS, Level, Settings
from dvr_cli.errors import ConfigError
from dvr_cli.files import write_text
from dvr_cli.mistakes import mistakes, model_in, nearest

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
    raise ConfigError(f"{origin}: there is no preset {name!r}. {nearest(str(name), list(PRESETS))}")


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
        lines = [f"{origin}: {line}" for line in mistakes(error, Settings, NONE_WORD)]
        if any(problem["type"] == "missing" for problem in error.errors()):
            required = [name for name, field in Level.model_fields.items() if field.is_required()]
            lines.append(f"The levels of the preset are replaced as a whole: each needs {' and '.join(required)}.")
        raise ConfigError("\n".join(lines)) from error


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
    model = model_in(annotation)
    if isinstance(value, list):
        return [_word_to_none(item, model) for item in value]
    if isinstance(value, dict) and model is not None:
        fields = model.model_fields
        return {
            key: _word_to_none(item, fields[key].annotation) if key in fields else item for key, item in value.items()
        }
    return value


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested groups and lists as one dictionary with dotted keys."""
    if isinstance(value, dict):
        pairs = [(f"{prefix}.{key}" if prefix else key, item) for key, item in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{prefix}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {prefix: value}
    return {name: leaf for key, item in pairs for name, leaf in _flat(item, key).items()}
