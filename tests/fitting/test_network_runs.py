"""Whole runs of networks: what they learn, interruptions, checkpoints, schedules, the export."""

import itertools

import numpy as np
import pytest
import torch

from dvr_cli.commands.surface_of_run import mesh_of_run
from dvr_cli.config import PAPER, Level, Network, Settings, Start
from dvr_cli.errors import RunError, SceneError
from dvr_cli.fields.grid import GridField
from dvr_cli.fields.kinds import make_network_field
from dvr_cli.fields.mlp import NetworkField
from dvr_cli.fitting import levels
from dvr_cli.fitting.course import FORMAT, Course
from dvr_cli.fitting.network_kind import begins_at_hull, learning_rate, meets_or_nears, ray_steps
from dvr_cli.fitting.network_start import fit_to_grid
from dvr_cli.fitting.reconstruct import load_field, reconstruct
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import describe_scene, read_described_scene
from dvr_cli.surfaces.cleaning import clean
from dvr_cli.surfaces.extraction import to_world
from dvr_cli.surfaces.from_field import extract_field
from dvr_cli.surfaces.topology import faces_outward
from tests.fitting.tiny_runs import Observer, assert_same_field, exact_mesh, fit
from tests.kernels.tiny_views import ball_sdf

TINY_PAPER = Settings(
    preset="paper",
    field="mlp",
    image_size=None,
    levels=(Level(voxels=48, steps=150),),
    rays_per_step=256,
    # Faster than the paper: a test has no hours.
    network=Network(width=32, blocks=2, empty_cells=8, hull_voxels=32, learning_rate=1e-2, start="random"),
    threads=1,
    device="cpu",
)
TINY_SMALL = Settings(
    preset="mlp-small",
    field="mlp-small",
    image_size=96,
    levels=(Level(voxels=48, steps=20, image_size=48), Level(voxels=48, steps=20)),
    start=Start(voxels=32, image_size=48, carve=False),
    rays_per_step=256,
    network=Network(
        width=16, blocks=1, frequencies=2, feature_grids=(8, 16), features=2, empty_cells=16, start="hull",
        start_steps=150, start_points=4096, start_rate=5e-3, ray_steps=32, doubled_at=(), learning_rate=2e-3,
        halved_at=(), final_rate=0.1, views_per_step=4, hull_voxels=32,
    ),
    threads=1,
    device="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def paper_run(ball, tmp_path_factory):
    """(folder, summary) of a whole run of the paper's kind."""
    folder = tmp_path_factory.mktemp("paper") / "run"
    return folder, fit(ball[0], folder, TINY_PAPER)


@pytest.fixture(scope="module")
def small_run(ball, tmp_path_factory):
    """The same of the small network."""
    folder = tmp_path_factory.mktemp("small") / "run"
    return folder, fit(ball[0], folder, TINY_SMALL)


def test_paper_begins_to_see_the_object(paper_run):
    """A few steps from random weights: the silhouettes show that the sign of every gradient is right."""
    _, summary = paper_run
    assert summary.finished and summary.steps == 150
    assert summary.silhouette_iou > 0.6, summary.silhouette_iou


def test_small_network_keeps_the_shape_that_it_starts_from(small_run, ball):
    folder, summary = small_run
    field, world_from_unit = load_field(RunFolder.open(folder))
    assert isinstance(field, NetworkField) and field.kind == "mlp-small"
    assert summary.finished and summary.silhouette_iou > 0.85, summary.silhouette_iou
    mesh = to_world(extract_field(field, 48), world_from_unit)
    exact = exact_mesh(ball[1], ball[0])
    size = np.ptp(exact.vertices, axis=0).max()
    assert np.abs(mesh.vertices.mean(axis=0) - exact.vertices.mean(axis=0)).max() < 0.05 * size


def test_mesh_of_a_network_is_closed_coloured_refined_and_in_world_units(small_run, ball):
    run, notes = RunFolder.open(small_run[0]), []
    mesh = mesh_of_run(run, None, "supported", notes.append)
    assert faces_outward(mesh)
    assert mesh.colors.shape == mesh.vertices.shape and mesh.colors.min() >= 0 and mesh.colors.max() <= 1
    exact = exact_mesh(ball[1], ball[0])
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx(np.ptp(exact.vertices, axis=0), rel=0.1)
    field, world_from_unit = load_field(run)
    raw = clean(to_world(extract_field(field, TINY_SMALL.levels[-1].voxels), world_from_unit), [], "largest").mesh
    # Thirty steps of RMSprop move a vertex by some thousandths of the cube.
    moved = np.linalg.norm(mesh.vertices - raw.vertices, axis=1)
    assert 0 < moved.max() < 0.01 * np.ptp(exact.vertices, axis=0).max()


def test_fine_extraction_of_a_network_is_announced(small_run):
    notes = []
    coarse = mesh_of_run(RunFolder.open(small_run[0]), 32, "all", notes.append)
    assert not notes
    fine = mesh_of_run(RunFolder.open(small_run[0]), 257, "all", notes.append)
    assert "minutes on a CPU" in notes[0] and len(fine.vertices) > 20 * len(coarse.vertices)


@pytest.mark.parametrize("stop_at", [10, 30])
def test_stopped_run_of_the_paper_goes_on_bit_for_bit(ball, paper_run, tmp_path, stop_at):
    stopped = fit(ball[0], tmp_path / "run", TINY_PAPER, Observer(stop_at))
    assert not stopped.finished and stopped.steps == stop_at
    resumed = fit(ball[0], tmp_path / "run", TINY_PAPER, resume=True)
    assert resumed.finished and resumed.resumed_from == stop_at and resumed.steps == paper_run[1].steps
    assert resumed.silhouette_iou == paper_run[1].silhouette_iou
    assert_same_field(paper_run[0], tmp_path / "run")


def test_killed_run_of_the_small_network_goes_on_bit_for_bit(ball, small_run, tmp_path, monkeypatch):
    """Within its second level, at an odd step, between two looks for empty space."""
    monkeypatch.setattr(levels, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    calls = iter(range(10**6))
    # What loading and the fit to the hull ask before the first step does not count.
    observer = Observer()

    def killed() -> bool:
        if observer.steps and observer.steps[-1].step >= 20 and next(calls) > 6:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        fit(ball[0], tmp_path / "run", TINY_SMALL, observer, should_stop=killed)
    assert 20 < RunFolder.open(tmp_path / "run").load_checkpoint()["step"] < 40
    assert fit(ball[0], tmp_path / "run", TINY_SMALL, resume=True).finished
    assert_same_field(small_run[0], tmp_path / "run")


def test_stopping_within_the_fit_to_the_hull_leaves_nothing(ball, tmp_path):
    asked = iter(range(10**6))
    summary = fit(ball[0], tmp_path / "run", TINY_SMALL, should_stop=lambda: next(asked) > 60)
    assert not summary.finished and summary.steps == 0
    assert RunFolder.open(tmp_path / "run").load_checkpoint() is None


def test_checkpoint_of_a_network_holds_everything(ball, tmp_path):
    fit(ball[0], tmp_path / "run", TINY_PAPER, Observer(30))
    state = RunFolder.open(tmp_path / "run").load_checkpoint()
    assert state["format"] == FORMAT and state["kind"] == "mlp" and state["empty"].shape == (8, 8, 8)
    course = Course.from_checkpoint(state, torch.device("cpu"))
    again = course.to_checkpoint()
    assert again.keys() == state.keys() and again["architecture"] == state["architecture"]
    for name, tensor in state["network"].items():
        assert torch.equal(again["network"][name], tensor)
    for number, moments in state["adam"]["state"].items():
        assert all(torch.equal(again["adam"]["state"][number][key], value) for key, value in moments.items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state["architecture"].update(width=10**9),
        lambda state: state["architecture"].update(width=16),
        lambda state: state["architecture"].update(feature_grids=[100_000]),
        lambda state: state["network"].pop("fc_out.bias"),
        lambda state: state.update(empty=torch.zeros(8, 8, 2, dtype=torch.bool)),
        lambda state: state.update(kind="spline"),
        lambda state: state.pop("empty"),
        lambda state: state["adam"]["state"][0].update(exp_avg=torch.zeros(3)),
    ],
)
def test_damaged_checkpoint_of_a_network_is_refused(paper_run, ball, tmp_path, damage):
    fit(ball[0], tmp_path / "run", TINY_PAPER, Observer(10))
    state = RunFolder.open(tmp_path / "run").load_checkpoint()
    damage(state)
    with pytest.raises(RunError, match="incomplete"):
        Course.from_checkpoint(state, torch.device("cpu"))


@pytest.mark.parametrize("settings", [TINY_PAPER, TINY_SMALL], ids=["paper", "small"])
def test_networks_refuse_scenes_without_masks(ball, tmp_path, settings):
    scene = read_described_scene(ball[0].root, {"no_masks": True})
    with (
        RunFolder.create(tmp_path / "run", settings, describe_scene(scene, {"no_masks": True})) as run,
        pytest.raises(SceneError, match="--masks auto"),
    ):
        reconstruct(scene, settings, run, Observer().report, lambda: False)


def test_schedule_is_the_papers():
    settings = Network()
    assert [ray_steps(settings, step) for step in (0, 49_999, 50_000, 99_999, 100_000, 250_000)] == [
        16, 16, 32, 32, 64, 128,
    ]  # fmt: skip
    rates = [learning_rate(settings, step, 40, 0.5) for step in (0, 119_999, 120_000, 199_999, 200_000)]
    assert rates == pytest.approx([1e-4, 1e-4, 5e-5, 5e-5, 2.5e-5])


def test_rate_falls_geometrically_where_it_is_told_to():
    settings = Network(learning_rate=1e-2, halved_at=(), final_rate=0.01)
    assert [learning_rate(settings, 0, 40, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([1e-2, 1e-3, 1e-4])


@pytest.mark.parametrize(
    ("start", "steps", "limit", "expected"),
    [
        ("auto", 300_000, None, False),
        ("auto", 299_999, None, True),
        ("auto", 300_000, 1800.0, True),
        ("random", 10, 60.0, False),
        ("hull", 300_000, None, True),
    ],
)
def test_short_runs_begin_at_the_hull(start, steps, limit, expected):
    settings = PAPER.model_copy(
        update={
            "levels": (Level(voxels=64, steps=steps),),
            "time_limit": limit,
            "network": PAPER.network.model_copy(update={"start": start}),
        }
    )
    assert begins_at_hull(settings) == expected


def test_preset_paper_as_it_is_begins_as_published():
    assert PAPER.network.start == "auto" and not begins_at_hull(PAPER)


def test_short_paper_run_begins_with_the_silhouettes_of_the_masks(ball, tmp_path):
    network = TINY_PAPER.network.model_copy(
        update={"start": "auto", "start_steps": 250, "start_rate": 1e-2, "ray_steps": 64}
    )
    settings = TINY_PAPER.model_copy(update={"levels": (Level(voxels=48, steps=1),), "network": network})
    observer = Observer()
    summary = fit(ball[0], tmp_path / "run", settings, observer)
    assert "Fitting the network to the visual hull (250 steps)" in observer.messages
    assert summary.silhouette_iou > 0.8


def test_rays_are_occupied_where_they_meet_the_hull_or_come_nearest():
    radius = 0.6
    origins = torch.tensor([[-3.0, 0.0, 0.2], [-3.0, 0.7, 0.0], [-3.0, 0.0, 5.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0]]).repeat(3, 1)
    t = meets_or_nears(ball_sdf(48, radius), origins, directions)
    assert t[0].item() == pytest.approx(3 - (radius**2 - 0.2**2) ** 0.5, abs=5e-3)
    assert t[1].item() == pytest.approx(3.0, abs=0.1)
    assert t[2] == 0


def test_a_time_limit_holds_for_the_start_too():
    """Each look at the clock takes a second, and half of the steps have the time."""
    torch.manual_seed(0)
    field = make_network_field("mlp-small", TINY_SMALL.network)
    settings = TINY_SMALL.network.model_copy(update={"start_steps": 40})
    seconds, asked = itertools.count(), []
    clock = lambda: float(next(seconds))  # noqa: E731
    fit_to_grid(field, GridField(ball_sdf(16)), settings, 0, lambda report: None, lambda: asked.append(1), 20.0, clock)
    assert len(asked) == 20


def test_network_takes_the_shape_of_a_grid():
    torch.manual_seed(0)
    field = make_network_field("mlp-small", TINY_SMALL.network)
    grid = GridField(ball_sdf(32))
    settings = TINY_SMALL.network.model_copy(update={"start_steps": 200})
    told = []
    fit_to_grid(field, grid, settings, 0, told.append, lambda: None)
    assert [report.step for report in told] == list(range(0, 200, 10)) and told[-1].seconds_left is not None
    points = 2 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(1)) - 1
    far = grid.value(points).abs() > 0.05
    same = (field.value(points) < 0) == (grid.value(points) < 0)
    assert same[far].float().mean() > 0.99
