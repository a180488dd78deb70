"""`--masks` with and without a value: what is its value, and what the scene."""

import pytest
import typer

from dvr_cli.app import app
from dvr_cli.commands.arguments import with_values


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
