"""Laws of configuration: later sources win, what is written reads back equal, and every mistake names its key."""

import pytest

from dvr_cli.config import FAST, PRESETS, QUALITY
from dvr_cli.config_io import changed_keys, read_settings, resolve_settings, write_settings
from dvr_cli.errors import ConfigError


def toml(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_reading_back_gives_equal_settings(tmp_path, name):
    settings = PRESETS[name].model_copy(update={"threads": 3, "time_limit": 0.1, "device": "cuda:1"})
    write_settings(settings, tmp_path / "config.toml")
    assert read_settings(tmp_path / "config.toml") == settings


def test_none_survives_where_the_preset_has_a_value(tmp_path):
    settings = FAST.model_copy(update={"image_size": None})
    write_settings(settings, tmp_path / "config.toml")
    assert read_settings(tmp_path / "config.toml") == settings


def test_without_anything_the_default_preset_is_used():
    assert resolve_settings() == FAST


def test_options_win_over_the_file_and_the_file_over_the_preset(tmp_path):
    path = toml(tmp_path, "seed = 1\nrays_per_step = 100\n")
    settings = resolve_settings("quality", path, {"seed": 2, "threads": None})
    assert settings == QUALITY.model_copy(update={"seed": 2, "rays_per_step": 100})


def test_preset_option_wins_over_the_preset_of_the_file(tmp_path):
    path = toml(tmp_path, 'preset = "quality"\n')
    assert resolve_settings(config_file=path) == QUALITY
    assert resolve_settings("fast", path) == FAST


def test_settings_of_an_earlier_run_stand_in_for_the_preset():
    earlier = FAST.model_copy(update={"seed": 7})
    assert resolve_settings(base=earlier, options={"threads": 2}) == earlier.model_copy(update={"threads": 2})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", r"settings\.toml: unknown key 'sed'\. Did you mean 'seed'\?"),
        ("zzz = 1", r"unknown key 'zzz'\. Known here: preset, field, image_size"),
        (
            "[[levels]]\nvoxels = 64\nimage_size = 100\nstep = 3\nsteps = 3",
            r"'levels\[0\]\.step'\. Did you mean 'levels\[0\]\.steps'",
        ),
        (
            "[[levels]]\nvoxels = 8\nimage_size = 100\nsteps = 3",
            r"levels\[0\]\.voxels = 8 .*a whole number >= 16 and <= 512",
        ),
        ("[[levels]]\nvoxels = 64", r"levels\[0\]\.steps is missing: expected a whole number >= 1\."),
        ("[[levels]]\nvoxels = 64", r"replaced as a whole: each needs voxels and steps\."),
        ('threads = "many"', r"threads = 'many' .*a whole number >= 1, or \"none\""),
        ("time_limit = 0", r"time_limit = 0 .*a number > 0"),
        ("levels = 3", r"levels = 3 cannot be used: expected a list of groups\."),
        ("start = 3", r"start = 3 cannot be used: expected a group of keys\."),
        ("network = {feature_grids = [8, 1]}", r"feature_grids\[1\] = 1 .*a whole number >= 2 and <= 256\."),
        ("network = {feature_grids = [4,4,4,4,4,4,4,4,4]}", "expected a list of whole numbers with at most 8 items"),
        ('network = {start = "foo"}', "expected one of random, hull, auto"),
        ('preset = "fats"', r"no preset 'fats'\. Did you mean 'fast'\?"),
        ("preset = 3", "no preset 3"),
        ("seed = ", "not valid TOML"),
        ("seed = 1\nseed = 2", "not valid TOML"),
    ],
)
def test_mistakes_in_a_file_name_key_and_expectation(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        resolve_settings(config_file=toml(tmp_path, text))


def test_mistake_on_the_command_line_says_so():
    with pytest.raises(ConfigError, match=r"the command line: image_size = 8 .*>= 32"):
        resolve_settings(options={"image_size": 8})


def test_all_mistakes_are_named_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        resolve_settings(config_file=toml(tmp_path, "sed = 1\nthreads = 0"))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * 2_000_000])
def test_file_that_is_no_text_is_refused(tmp_path, content):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.toml"):
        resolve_settings(config_file=tmp_path / "c.toml")


def test_missing_file_and_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match="Cannot read the configuration"):
            resolve_settings(config_file=path)


def test_changed_keys_are_dotted():
    longer = FAST.levels[1].model_copy(update={"steps": 5})
    other = FAST.model_copy(update={"seed": 1, "levels": (FAST.levels[0], longer)})
    assert changed_keys(FAST, FAST) == []
    assert changed_keys(FAST, other)[0] == "levels[1].steps" and "seed" in changed_keys(FAST, other)
