"""The settings of a reconstruction and their presets: the one place where default values stand.

Settings are frozen pydantic models; unknown keys are errors. A preset is an object at the end of this file. How a TOML
file and the command line override a preset is in `config_io`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Level(Part):
    """One level of the coarse-to-fine schedule."""

    voxels: int = Field(ge=16, le=512)
    """Grid vertices per side of the cube."""
    image_divisor: Literal[1, 2, 4, 8]
    """Photographs are used at 1/divisor of the working size."""
    steps: int = Field(ge=1)


class Settings(Part):
    """Everything that decides the result of a reconstruction, apart from the scene."""

    preset: str
    image_size: int | None = Field(default=800, ge=32)
    """Longest side in pixels at which photographs are used; None for full size."""
    levels: tuple[Level, ...]
    rays_per_step: int = Field(default=4096, ge=1)
    seed: int = 0
    device: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; None for all cores."""
    time_limit: float | None = Field(default=None, gt=0)
    """Seconds of optimisation; the schedule is shortened to fit. None: the schedule's own steps."""


FAST = Settings(
    preset="fast",
    levels=(
        Level(voxels=64, image_divisor=4, steps=400),
        Level(voxels=128, image_divisor=2, steps=800),
        Level(voxels=192, image_divisor=1, steps=1200),
    ),
)

QUALITY = Settings(
    preset="quality",
    image_size=None,
    levels=(
        Level(voxels=64, image_divisor=4, steps=400),
        Level(voxels=128, image_divisor=2, steps=1500),
        Level(voxels=256, image_divisor=1, steps=5000),
    ),
)

PRESETS: dict[str, Settings] = {settings.preset: settings for settings in (FAST, QUALITY)}
