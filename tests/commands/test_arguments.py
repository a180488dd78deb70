"""`--masks` with and without a value: what is its value, and what the scene."""

from pathlib import Path

import pytest
import typer

from dvr_cli.app import app, main
from dvr_cli.commands.arguments import with_values
from dvr_cli.commands.reading import Reading


@pytest.fixture(scope="module")
def reconstruct():
    return typer.main.get_command(app).commands["reconstruct"]


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        ("SCENE --masks", "SCENE --masks found"),
        ("--masks SCENE", "--masks found SCENE"),
        ("SCENE --masks --depth sparse.npz", "SCENE --masks found --depth sparse.npz"),
        ("--depth sparse.npz --masks SCENE", "--depth sparse.npz --masks found SCENE"),
        ("--resume --masks SCENE", "--resume --masks found SCENE"),
        ("SCENE --masks auto", "SCENE --masks auto"),
        ("--masks auto SCENE", "--masks auto SCENE"),
        ("SCENE --masks FOLDER", "SCENE --masks FOLDER"),
        ("--masks FOLDER SCENE", "--masks FOLDER SCENE"),
        ("--masks FOLDER --seed 3 SCENE", "--masks FOLDER --seed 3 SCENE"),
        ("--masks SCENE --seed 3", "--masks found SCENE --seed 3"),
        ("--masks SCENE --seed=3 -q", "--masks found SCENE --seed=3 -q"),
        ("SCENE -q --masks -q", "SCENE -q --masks found -q"),
        ("--masks auto", "--masks auto"),
        ("SCENE -- --masks", "SCENE -- --masks"),
        ("SCENE --no-masks", "SCENE --no-masks"),
        ("", ""),
    ],
)
def test_value_of_masks(reconstruct, written, understood):
    assert with_values(written.split(), reconstruct) == understood.split()


def test_command_without_an_argument_takes_the_word_as_value():
    compare = typer.main.get_command(app).commands["compare"]
    assert with_values(["--scene", "ball", "--masks", "folder"], compare) == ["--scene", "ball", "--masks", "folder"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "evaluate m.ply --protocol foo",
            "Invalid value for '--protocol': 'foo' is not one of 'plain', 'dtu', 'tanks'.",
        ),
        ("export m.ply --texture foo", "Invalid value for '--texture': 'foo' is not one of 'none', 'vertex', 'atlas'."),
        ("reconstruct s --hold-out 1", "'--hold-out': '1' cannot be used: expected 2 or more."),
        ("reconstruct s --threads many", "'--threads': 'many' cannot be used: expected a whole number."),
        ("render m.ply --elevation 90", "'--elevation': '90' cannot be used: expected 89 or less."),
        ("render m.ply --elevation up", "'--elevation': 'up' cannot be used: expected a number."),
        ("reconstruct s --time soon", "'--time': 'soon' is no duration: expected e.g. 60, 60s, 2m or 1h."),
        ("compare --seed -1", "'--seed': '-1' cannot be used: expected 0 or more."),
        ("prepare p out --seed 2147483648", "'--seed': '2147483648' cannot be used: expected 2147483647 or less."),
        ("evaluate m.ply --cull inf", "'--cull': 'inf' cannot be used: expected 10000 or less."),
        ("reconstruct", "Missing argument 'SCENE'."),
    ],
)
def test_values_that_cannot_be_used_are_told_in_our_words(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments.split())
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert end.value.code == 2 and message in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("convert s --to plain --masks auto", "auto needs a run to keep the masks in"),
        ("convert s --to plain --depth auto", "auto needs a run to keep the points in"),
        ("evaluate m.ply --scene s --masks auto", "auto needs a run to keep the masks in"),
        ("render m.ply --scene s --masks auto --views all", "auto needs a run to keep the masks in"),
        ("compare --scene s --masks auto", "auto needs a run to keep the masks in"),
    ],
)
def test_commands_that_make_nothing_offer_nothing(arguments, message, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    command = arguments.split()[0]
    with pytest.raises(SystemExit) as end:
        main(arguments.split())
    assert end.value.code == 2 and message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--masks [FOLDER] Silhouettes" in shown
    assert not any(offer in shown for offer in ("auto|FOLDER", "auto|PATH", "auto, made here", "triangulated here"))


def test_hidden_name_of_masks_is_not_repeated():
    assert Reading(mask_folder=Path("my masks")).given() == ["--masks", "my masks"]
