"""Masks made here agree with exact ones, on backgrounds of one colour and of any, whatever the number of threads."""

import json

import numpy as np
import pytest
from PIL import Image

from dvr_cli.scenes.masks.auto import Stopped, make_masks
from dvr_cli.scenes.masks.auto.background import is_solid, solid_background
from dvr_cli.scenes.masks.auto.cutting import cut, edge_costs
from dvr_cli.scenes.masks.auto.seeds import supporting_plane
from dvr_cli.scenes.masks.auto.storing import stored
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.sparse_depth import write_sparse_depth
from dvr_cli.scenes.synthetic import demo_shape, make_views, random_similarity, write_scene
from dvr_cli.scenes.views import SparseDepth

VIEWS, SIZE = 6, 128


def world_from_unit():
    return random_similarity(np.random.default_rng(5))


@pytest.fixture(scope="module")
def photographed():
    """Photographs of the demo shape with exact masks and depth."""
    shape = demo_shape(shortest_wave=0.06)
    return make_views(shape, VIEWS, SIZE, seed=1, world_from_unit=world_from_unit(), with_depth=True)


def before(views, backgrounds, noise=0.0):
    """The object before other backgrounds, one image for each view."""
    from dataclasses import replace

    generator = np.random.default_rng(0)
    changed = []
    for view, background in zip(views, backgrounds, strict=True):
        image = np.where(view.mask[:, :, None], view.image, background)
        image = np.clip(image + noise * generator.normal(size=image.shape), 0, 1)
        changed.append(replace(view, image=image.astype(np.float32)))
    return changed


def ious(views, made):
    masks = [np.asarray(Image.open(made.folder / f"{view.name}.png")) > 127 for view in views]
    return np.array([(m & v.mask).sum() / (m | v.mask).sum() for m, v in zip(masks, views, strict=True)])


def size_of(path):
    with Image.open(path) as image:
        return image.size


def plain(colour):
    return [np.array(colour)] * VIEWS


def gradients():
    """Dark on one side, bright on the other, as a sheet of paper under a lamp."""
    height, width = round(SIZE * 0.75), SIZE
    y, x = np.mgrid[0:height, 0:width] / SIZE
    return [np.stack([0.55 + 0.3 * x, 0.6 + 0.25 * y, 0.75 + 0.1 * x * y], axis=-1)] * VIEWS


def blotches():
    """Blue-green blotches of many sizes, other ones in each view."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(2)
    found = []
    for _ in range(VIEWS):
        noise = sum(
            s * gaussian_filter(generator.normal(size=(round(SIZE * 0.75), SIZE)), s, mode="wrap") for s in (1, 3, 8)
        )
        noise = 0.5 + 0.25 * noise / noise.std()
        found.append(np.clip(np.stack([0.4 * noise, 0.35 + 0.5 * noise, 0.9 - 0.5 * noise], axis=-1), 0, 1))
    return found


def surface_points(views):
    """Points on the object as views see them, and points of the background beyond the region of interest."""
    points, pairs = [], []
    for index, view in enumerate(views):
        rows, columns = np.nonzero(view.mask)
        chosen = np.random.default_rng(index).choice(len(rows), 60, replace=False)
        pixels = np.stack([columns[chosen], rows[chosen]], axis=1) + 0.5
        depth = view.depth[rows[chosen], columns[chosen]]
        pairs += [(index, len(points) + k) for k in range(60)]
        points += list(at_depth(view.camera, pixels, depth))
        far = np.random.default_rng(100 + index).uniform(0, 1, (40, 2)) * [view.camera.width, view.camera.height]
        beside = ~view.mask[far[:, 1].astype(int), far[:, 0].astype(int)]
        pairs += [(index, len(points) + k) for k in range(beside.sum())]
        points += list(at_depth(view.camera, far[beside], np.full(beside.sum(), 3 * np.nanmedian(depth))))
    return SparseDepth(np.array(points), np.array(pairs))


def at_depth(camera, pixels, depth):
    homogeneous = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)
    in_camera = homogeneous @ np.linalg.inv(camera.intrinsics).T * depth[:, None]
    return in_camera @ camera.camera_from_world[:3, :3] + camera.centre


BACKGROUNDS = {
    "black": (plain((0.0, 0.0, 0.0)), 0.0),
    "noisy black": (plain((0.02, 0.02, 0.03)), 0.01),
    "white": (plain((1.0, 1.0, 1.0)), 0.005),
    "blue": (plain((0.1, 0.2, 0.7)), 0.01),
    "gradient": (gradients(), 0.008),
}


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_backgrounds_of_one_colour_are_told_from_the_object(photographed, tmp_path, name):
    backgrounds, noise = BACKGROUNDS[name]
    views = before(photographed, backgrounds, noise)
    write_scene(tmp_path / "scene", views, world_from_unit())
    made = make_masks(read_scene(tmp_path / "scene"), tmp_path / "masks", threads=2)
    assert made.method == "background"
    assert ious(views, made).min() > 0.97
    assert made.overall > 0.8
    assert not made.notes


@pytest.fixture(scope="module")
def before_blotches(photographed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("blotches")
    views = before(photographed, blotches(), 0.01)
    write_scene(folder, views, world_from_unit())
    write_sparse_depth(folder / "sparse.npz", surface_points(photographed))
    return folder, views


def test_other_backgrounds_are_told_by_points_and_region(before_blotches, tmp_path):
    folder, views = before_blotches
    scene = read_scene(folder, depth=folder / "sparse.npz")
    made = make_masks(scene, tmp_path / "one", threads=1)
    assert made.method == "region"
    assert ious(views, made).mean() > 0.9
    again = make_masks(scene, tmp_path / "three", threads=3)
    assert again.quality == made.quality
    for view in views:
        one, three = ((tmp_path / f / f"{view.name}.png").read_bytes() for f in ("one", "three"))
        assert one == three


def test_masks_are_used_again_until_an_input_changes(photographed, tmp_path):
    views = before(photographed, plain((0.0, 0.0, 0.0)))[:3]
    write_scene(tmp_path / "scene", views, world_from_unit())
    scene, folder = read_scene(tmp_path / "scene"), tmp_path / "masks"
    made = make_masks(scene, folder, threads=1)
    marked = folder / "000.png.png"
    Image.new("L", (3, 3)).save(marked)
    reported = []
    assert make_masks(scene, folder, threads=1, report=lambda *done: reported.append(done)) == made
    assert size_of(marked) == (3, 3)
    assert reported == []
    image = scene.views[1].image_path
    with Image.open(image) as opened:
        darker = opened.point(lambda value: value // 2)
    darker.save(image)
    make_masks(scene, folder, threads=1, report=lambda *done: reported.append(done))
    assert size_of(marked) == (SIZE, round(SIZE * 0.75))
    assert reported[-1][0] == reported[-1][1]
    assert [done for done, _ in reported] == sorted(done for done, _ in reported)


def test_damaged_record_or_missing_mask_means_making_them_again(photographed, tmp_path):
    views = before(photographed, plain((0.0, 0.0, 0.0)))[:3]
    write_scene(tmp_path / "scene", views, world_from_unit())
    scene, folder = read_scene(tmp_path / "scene"), tmp_path / "masks"
    made = make_masks(scene, folder, threads=1)
    names = [view.name for view in scene.views]
    record = (folder / "masks.json").read_text()
    made_from = json.loads(record)["fingerprint"]
    assert stored(folder, made_from, names) == made
    assert stored(folder, "another", names) is None
    assert stored(folder, made_from, names[:2]) is None
    for damaged in ("", "[]", '{"quality": 3}', record.replace(made_from, ""), record.replace("0.", '"', 1)):
        (folder / "masks.json").write_text(damaged)
        assert stored(folder, made_from, names) is None
    (folder / "masks.json").write_text(record)
    (folder / "001.png.png").unlink()
    assert make_masks(scene, folder, threads=1) == made
    assert (folder / "001.png.png").is_file()


def test_stopping_leaves_nothing(photographed, tmp_path):
    views = before(photographed, plain((0.0, 0.0, 0.0)))[:3]
    write_scene(tmp_path / "scene", views, world_from_unit())
    with pytest.raises(Stopped):
        make_masks(read_scene(tmp_path / "scene"), tmp_path / "masks", threads=1, should_stop=lambda: True)
    assert not (tmp_path / "masks").exists()


def test_masks_made_here_are_found_by_their_names(photographed, tmp_path):
    views = before(photographed, plain((0.0, 0.0, 0.0)))[:3]
    write_scene(tmp_path / "scene", views, world_from_unit())
    make_masks(read_scene(tmp_path / "scene"), tmp_path / "masks", threads=1)
    read = read_scene(tmp_path / "scene", masks=tmp_path / "masks")
    assert [view.mask_path.name for view in read.views] == ["000.png.png", "001.png.png", "002.png.png"]


def test_a_photograph_of_the_object_alone_gives_a_poor_figure(photographed, tmp_path):
    """Nothing but object colours everywhere: there is no telling, and the figure says so."""
    views = before(photographed, [view.image.mean(axis=(0, 1)) for view in photographed])
    for view in views:
        view.image[:] = np.random.default_rng(0).uniform(0, 1, view.image.shape)
    write_scene(tmp_path / "scene", views, world_from_unit())
    made = make_masks(read_scene(tmp_path / "scene"), tmp_path / "masks", threads=2)
    assert made.overall < 0.7
    assert any("poor" in note for note in made.notes)


@pytest.mark.parametrize("sign", [1, -1])
def test_cut_without_borders_to_pay_is_the_sign_of_the_evidence(sign):
    odds = sign * np.random.default_rng(0).normal(size=(30, 41)).astype(np.float32)
    u = cut(odds, np.full(odds.shape, 1e-4, np.float32))
    clear = np.abs(odds) > 0.05
    np.testing.assert_array_equal((u > 0.5)[clear], (odds > 0)[clear])


def test_cut_removes_specks_and_keeps_regions():
    odds = np.full((60, 80), -1.0, np.float32)
    odds[20:40, 30:60] = 1.0
    truth = odds > 0
    odds[5, 5] = odds[50, 70] = 3.0
    odds[30, 40] = -3.0
    mask = cut(odds, np.full(odds.shape, 1.2, np.float32)) > 0.5
    # Corners are rounded: a border of cost 1.2 between evidence of 1 has that radius.
    assert (mask & truth).sum() / (mask | truth).sum() > 0.98
    assert not mask[5, 5] and mask[30, 40]


def test_borders_are_cheap_along_edges():
    image = np.zeros((20, 20, 3), np.float32)
    image[:, 10:] = 1
    cost = edge_costs(image)
    assert cost[5, 9] < 0.1 * cost[5, 3]


def test_a_solid_background_is_its_polynomial():
    rows, columns = np.mgrid[0:60, 0:80] / 80
    exact = np.stack([0.4 + 0.2 * columns, 0.5 + 0.1 * rows - 0.2 * columns**2, 0.6 - 0.1 * rows], axis=-1)
    image = np.round(exact * 255).astype(np.uint8)
    image[20:50, 25:80] = (200, 30, 30)
    found = solid_background(image)
    assert np.abs(found.colour - exact).max() < 1.5 / 255
    assert is_solid([found])


def test_noise_is_no_solid_background():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    assert not is_solid([solid_background(image)])


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_supporting_plane_is_found_with_the_object_above_it(flip):
    generator = np.random.default_rng(0)
    table = np.column_stack([generator.uniform(-2, 2, (400, 2)), np.full(400, -0.4)])
    thing = generator.uniform(-0.3, 0.3, (300, 3))
    plane = supporting_plane(np.concatenate([table, thing]) * [1, 1, flip], np.random.default_rng(1))
    np.testing.assert_allclose(plane.normal, [0, 0, flip], atol=0.02)
    assert abs(plane.offset + 0.4) < 0.02


def test_no_plane_where_there_is_none():
    assert supporting_plane(np.random.default_rng(0).normal(size=(500, 3)), np.random.default_rng(1)) is None
    assert supporting_plane(np.zeros((50, 3)), np.random.default_rng(1)) is None
    assert supporting_plane(np.zeros((0, 3)), np.random.default_rng(1)) is None


@pytest.mark.parametrize("count", [1, 2])
def test_few_views_are_told_by_colour_alone(photographed, tmp_path, count):
    views = before(photographed, plain((0.0, 0.0, 0.0)))[:count]
    write_scene(tmp_path / "scene", views, world_from_unit())
    assert ious(views, make_masks(read_scene(tmp_path / "scene"), tmp_path / "masks", threads=1)).min() > 0.95
