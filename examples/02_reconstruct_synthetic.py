"""From photographs to a measured mesh through the Python interface: what `dvr demo` does, step by step and smaller.

    python examples/02_reconstruct_synthetic.py

Photographs of an exactly known object are rendered and written as a scene folder; the scene is read back and
reconstructed with a short schedule; the surface is exported and compared with the exact one.
"""

from pathlib import Path

import numpy as np

from dvr_cli.comparing.metrics import surface_distance
from dvr_cli.config import Level, Settings, Start
from dvr_cli.console import PlainProgress
from dvr_cli.fitting.reconstruct import load_field, reconstruct
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import describe_scene
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.synthetic import demo_shape, synthetic_scene, write_scene
from dvr_cli.surfaces.cleaning import clean
from dvr_cli.surfaces.export import write_mesh
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.from_field import extract_field
from dvr_cli.surfaces.topology import is_watertight

OUTPUT = Path(__file__).parent / "output" / "02_synthetic"

# Two short levels, for photographs of 200 pixels; the presets in dvr_cli/config.py are made for larger ones.
SETTINGS = Settings(
    preset="fast",
    start=Start(voxels=64),
    levels=(Level(voxels=48, image_size=100, steps=40), Level(voxels=96, steps=60)),
    rays_per_step=8192,
)


def main() -> None:
    # 1. A scene folder: image/, mask/ and cameras.npz, as docs/formats.md describes. The shortest waves of the texture
    # are five pixels long at this size.
    made, photographs, shape = synthetic_scene(demo_shape(shortest_wave=0.045), views=32, image_size=200)
    write_scene(OUTPUT / "scene", photographs, made.world_from_unit)

    # 2. The scene, read as any other.
    scene = read_scene(OUTPUT / "scene", masks=True)
    print(f"{scene.name}: {len(scene.views)} views, bounds from {scene.bounds_source}")

    # 3. The reconstruction. It reports as it goes, may be told to stop, and leaves everything in the run folder.
    description = describe_scene(scene, {"masks": True})
    with RunFolder.create(OUTPUT / "run", SETTINGS, description, overwrite=True) as run:
        summary = reconstruct(scene, SETTINGS, run, report=PlainProgress(print), should_stop=lambda: False)
        field, world_from_unit = load_field(run)
    print(f"{summary.steps} steps, PSNR {summary.psnr:.1f} dB, silhouette IoU {summary.silhouette_iou:.3f}")

    # 4. The surface: extracted in the working cube, moved to the world, rid of specks.
    mesh = clean(to_world(extract_field(field), world_from_unit)).mesh
    write_mesh(mesh, OUTPUT / "mesh.ply")
    print(f"mesh: {len(mesh.vertices)} vertices, watertight: {is_watertight(mesh)}")

    # 5. The error, because here the truth is known.
    exact = extract(shape.value, shape.gradient, resolution=150)
    found = surface_distance(mesh, to_world(exact, scene.world_from_unit), 100_000, np.random.default_rng(0))
    print(f"Chamfer distance {found.chamfer:.4f} world units, {found.chamfer_percent:.3f} % of the diagonal")
    print(f"Wrote {(OUTPUT / 'mesh.ply').relative_to(Path(__file__).parent.parent)}")


if __name__ == "__main__":
    main()
