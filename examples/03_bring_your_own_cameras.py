"""Cameras, photographs, masks and sparse points of your own as a scene folder, and what the points are good for.

    python examples/03_bring_your_own_cameras.py

Replace `photographs` and `points_of_a_scanner` by what you have; `write_scene_folder` and `write_points` show the
files. The object here is a block with a hollow in its top, all of one colour: no silhouette shows the hollow, no
texture can be compared, so only the points tell of it. It is reconstructed without them and with them.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from dvr_cli.comparing.metrics import surface_distance
from dvr_cli.config import Level, Settings
from dvr_cli.fitting.reconstruct import load_field, reconstruct
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import describe_scene
from dvr_cli.scenes.checks import check_scene, worst_views
from dvr_cli.scenes.images import load_views
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.synthetic import synthetic_scene
from dvr_cli.scenes.synthetic_shapes import Blend, RoundedBox, Shape, SolidTexture, Sphere
from dvr_cli.scenes.views import LoadedView, Scene
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.from_field import extract_field
from dvr_cli.surfaces.mesh import Mesh

OUTPUT = Path(__file__).parent / "output" / "03_own_cameras"
ONE_COLOUR = SolidTexture(np.full(3, 0.6), np.zeros((1, 3)), np.zeros(1), np.zeros((1, 3)))
BOWL = Shape(
    Blend(RoundedBox((0.3, 0.3, 0.25), 0.1), Sphere(0.3, (0.0, 0.0, 0.42)), softness=0.05, subtract=True),
    ONE_COLOUR,
    radius=0.72,
)
SETTINGS = Settings(
    preset="fast",
    levels=(Level(voxels=32, image_size=100, steps=30), Level(voxels=64, steps=50)),
    rays_per_step=4096,
)


def photographs() -> tuple[Scene, list[LoadedView]]:
    """Stands for your photographs: images, masks and cameras (here also exact depth, to draw points from)."""
    scene, views, _ = synthetic_scene(BOWL, views=16, image_size=160, with_depth=True)
    return scene, views


def write_scene_folder(folder: Path, views: list[LoadedView]) -> None:
    """image/, mask/ and cameras.npz in the IDR layout.

    A camera is K (3x3, pixels) and camera_from_world (4x4, looks along +z, y down), with pixel centres at +0.5. The
    layout counts whole numbers as pixel centres, so the principal point loses half a pixel on the way.
    """
    (folder / "image").mkdir(parents=True, exist_ok=True)
    (folder / "mask").mkdir(exist_ok=True)
    matrices = {}
    for index, view in enumerate(views):
        intrinsics = view.camera.intrinsics.copy()
        intrinsics[:2, 2] -= 0.5
        world_mat = np.eye(4)
        world_mat[:3] = intrinsics @ view.camera.camera_from_world[:3]
        matrices[f"world_mat_{index}"] = world_mat
        Image.fromarray(np.round(255 * view.image).astype(np.uint8)).save(folder / "image" / f"{index:06d}.png")
        Image.fromarray(255 * view.mask.astype(np.uint8)).save(folder / "mask" / f"{index:06d}.png")
    np.savez(folder / "cameras.npz", **matrices)


def points_of_a_scanner(views: list[LoadedView], per_view: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Stands for your points: (points (N, 3), visibility (M, 2) pairs of view and point), both counted from 0."""
    generator = np.random.default_rng(0)
    points, pairs = [], []
    for index, view in enumerate(views):
        rows, columns = np.nonzero(np.isfinite(view.depth))
        chosen = generator.choice(len(rows), per_view, replace=False)
        origins, directions = view.camera.rays(np.stack([columns[chosen], rows[chosen]], axis=1) + 0.5)
        # A depth is camera z; along the ray it is that over the cosine to the camera's axis.
        t = view.depth[rows[chosen], columns[chosen]] / (directions @ view.camera.camera_from_world[2, :3])
        pairs.append(np.stack([np.full(per_view, index), np.arange(per_view) + per_view * index], axis=1))
        points.append(origins + t[:, None] * directions)
    return np.concatenate(points), np.concatenate(pairs)


def write_points(path: Path, points: np.ndarray, visibility: np.ndarray) -> None:
    """sparse.npz: only `points` must be there; `visibility` lets the rays that see them speak as well."""
    np.savez(path, points=points, visibility=visibility)


def look_at(scene: Scene) -> None:
    """What `dvr inspect` says in short."""
    check = check_scene(scene, load_views(scene, 400))
    worst = worst_views(check, 1)[0]
    points = 0 if scene.sparse_depth is None else len(scene.sparse_depth.points)
    print(f"{scene.format} layout: {len(scene.views)} views, {points} points, bounds from {scene.bounds_source}")
    print(f"masks agree with the hull of all of them: worst {worst.name} with IoU {worst.hull_iou:.3f}")


def reconstructed(scene: Scene, folder: Path) -> Mesh:
    """The surface in world units."""
    with RunFolder.create(folder, SETTINGS, describe_scene(scene, {"masks": True}), overwrite=True) as run:
        reconstruct(scene, SETTINGS, run, report=lambda event: None, should_stop=lambda: False)
        field, world_from_cube = load_field(run)
    return to_world(extract_field(field), world_from_cube)


def main() -> None:
    made, views = photographs()
    write_scene_folder(OUTPUT / "scene", views)
    write_points(OUTPUT / "scene" / "sparse.npz", *points_of_a_scanner(views))

    without = read_scene(OUTPUT / "scene", masks=True)
    with_points = read_scene(OUTPUT / "scene", masks=True, depth=OUTPUT / "scene" / "sparse.npz")
    look_at(with_points)

    exact = to_world(extract(BOWL.value, BOWL.gradient, resolution=150), made.world_from_unit)
    for name, scene in (("without points", without), ("with points", with_points)):
        mesh = reconstructed(scene, OUTPUT / name.replace(" ", "_"))
        found = surface_distance(mesh, exact, 50_000, np.random.default_rng(0))
        print(f"{name + ':':16}Chamfer distance {found.chamfer_percent:.3f} % of the diagonal")


if __name__ == "__main__":
    main()
