"""A plate that stands elsewhere in the last third of the photographs is where most of them show it, and named."""

import pytest
import torch

from dvr_cli.fitting.reconstruct import load_field
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import read_described_scene
from dvr_cli.scenes.synthetic import synthetic_scene, write_scene
from tests.fitting.tiny_runs import TINY, Observer, fit
from tests.scenes.moving_plate import ball_with_plate

VIEWS, MOVED_AT = 24, 16
PLACE, MOVED_TO = 0.35, 0.52


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(the scene on disk, its similarity)."""
    folder = tmp_path_factory.mktemp("moved") / "scene"
    described, views, _ = synthetic_scene(ball_with_plate(PLACE), VIEWS, 80)
    moved = synthetic_scene(ball_with_plate(MOVED_TO), VIEWS, 80)[1]
    write_scene(folder, [*views[:MOVED_AT], *moved[MOVED_AT:]], described.world_from_unit)
    return read_described_scene(folder, {"masks": True}), described.world_from_unit


@pytest.mark.parametrize("mend", [True, False])
def test_a_moved_part_stays_where_most_photographs_show_it(scene, tmp_path, mend):
    settings = TINY.model_copy(update={"start": TINY.start.model_copy(update={"fill_masks": mend})})
    observer = Observer()
    fit(scene[0], tmp_path / "run", settings, observer)
    named = [message for message in observer.messages if "seems to have moved" in message]
    assert bool(named) == mend
    if mend:
        assert f"{MOVED_AT:03d}.png" in named[0] and f"{MOVED_AT - 1:03d}.png" not in named[0]
    field, world_from_field = load_field(RunFolder.open(tmp_path / "run"))
    middle = scene[1] @ torch.tensor([PLACE, 0.0, 0.0, 1.0]).double().numpy()
    point = torch.linalg.solve(torch.as_tensor(world_from_field), torch.as_tensor(middle))[None, :3].float()
    assert bool(field.value(point) < 0) == mend
