"""A suite: scenes with what each is judged by, written down in a TOML file (docs/benchmarks.md).

Paths may hold placeholders in braces, `{scenes}/scan24`, whose values come with the command; a relative path starts in
the folder of the file. Built-in suites lie in `suites/`.
"""

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dvr_cli.config import PRESETS
from dvr_cli.errors import ConfigError
from dvr_cli.mistakes import mistakes

LARGEST_FILE = 1_000_000
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
PATH_KEYS = ("path", "depth", "reference", "obs_mask", "plane", "crop")


class Judged(BaseModel):
    """What can be said once for a whole suite, and again for one scene of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    presets: tuple[str, ...] | None = None
    masks: bool | None = None
    depth: str | None = None
    hold_out: int | None = Field(default=None, ge=2)
    reference: str | None = None
    protocol: Literal["plain", "dtu", "tanks"] | None = None
    threshold: float | None = Field(default=None, gt=0)
    obs_mask: str | None = None
    plane: str | None = None
    crop: str | None = None
    cull: int | None = Field(default=None, ge=0)
    every: int | None = Field(default=None, ge=1)

    @field_validator("presets")
    @classmethod
    def _presets_exist(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            if name not in PRESETS:
                raise ValueError(f"there is no preset {name}; there are {', '.join(PRESETS)}")
        return names


class Synthetic(BaseModel):
    """A scene that is made on the spot, with an exact reference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Literal["demo", "sphere"] = "demo"
    seed: int = Field(default=0, ge=0)
    views: int = Field(default=48, ge=4, le=500)
    image_size: int = Field(default=320, ge=32, le=2000)


class SuiteScene(Judged):
    """One scene: a folder, or one to be made."""

    name: str = Field(min_length=1, max_length=60)
    path: str | None = None
    synthetic: Synthetic | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "SuiteScene":
        if (self.path is None) == (self.synthetic is None):
            raise ValueError("a scene needs either path or synthetic")
        if re.fullmatch(r"[\w][\w .+-]*", self.name) is None:
            raise ValueError("a name consists of letters, digits, spaces and . + - _, and becomes the name of a folder")
        return self


class Suite(BaseModel):
    """Scenes in the order in which they are run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    defaults: Judged = Judged()
    scene: tuple[SuiteScene, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> "Suite":
        names = [scene.name for scene in self.scene]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the names of scenes must differ: {', '.join(twice)} stands there more than once")
        return self

    def settled(self) -> tuple[SuiteScene, ...]:
        """The scenes with the suite's defaults filled in."""
        defaults = {key: value for key, value in self.defaults.model_dump().items() if value is not None}
        return tuple(
            SuiteScene.model_validate({**defaults, **scene.model_dump(exclude_none=True)}) for scene in self.scene
        )


def builtin_suites() -> list[str]:
    """Names of the suites that come with the package."""
    folder = resources.files("dvr_cli.comparing").joinpath("suites")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_suite(name: str, places: Mapping[str, Path]) -> Suite:
    """A suite by the name of a built-in one or the path of a TOML file, with the placeholders in its paths filled in.

    ConfigError when there is none of that name, when the file is no suite, or when a placeholder has no value.
    """
    if name in builtin_suites():
        text, folder, where = _builtin_text(name), Path(), f"the built-in suite {name}"
    else:
        text, folder, where = _file_text(Path(name)), Path(name).parent, name
    try:
        suite = Suite.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}. See docs/benchmarks.md for an example.") from error
    except ValidationError as error:
        lines = [f"{where}: {line}" for line in mistakes(error, Suite)]
        raise ConfigError("\n".join([*lines, "See docs/benchmarks.md for what a suite may say."])) from error
    return _with_places(suite, places, folder, where)


def _builtin_text(name: str) -> str:
    return resources.files("dvr_cli.comparing").joinpath("suites", f"{name}.toml").read_text(encoding="utf-8")


def _file_text(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(
            f"There is no suite {path}: expected a TOML file, or one of the built-in suites "
            f"{', '.join(builtin_suites())}."
        )
    if path.stat().st_size > LARGEST_FILE:
        raise ConfigError(f"{path} is larger than 1 MB: expected a TOML file with scenes (docs/benchmarks.md).")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Expected a TOML file.") from error


def _with_places(suite: Suite, places: Mapping[str, Path], folder: Path, where: str) -> Suite:
    """The suite with real paths."""
    needed = {
        name
        for part in (suite.defaults, *suite.scene)
        for value in _paths_of(part).values()
        for name in _PLACEHOLDER.findall(value)
    }
    missing = sorted(needed - set(places))
    if missing:
        asked = " ".join(f"--data {name}=FOLDER" for name in missing)
        raise ConfigError(
            f"{where} does not say where {', '.join(missing)} {'is' if len(missing) == 1 else 'are'}. Add: {asked}"
        )

    def filled(part: Judged) -> dict[str, Any]:
        paths = _paths_of(part).items()
        return {key: str(folder / _PLACEHOLDER.sub(lambda found: str(places[found[1]]), path)) for key, path in paths}

    scenes = tuple(scene.model_copy(update=filled(scene)) for scene in suite.scene)
    defaults = suite.defaults.model_copy(update=filled(suite.defaults))
    return suite.model_copy(update={"scene": scenes, "defaults": defaults})


def _paths_of(part: Judged) -> dict[str, str]:
    values = part.model_dump()
    return {key: values[key] for key in PATH_KEYS if isinstance(values.get(key), str)}
