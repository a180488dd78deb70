"""Charts by xatlas, run as a script of its own: `python atlas_process.py FOLDER`.

Reads FOLDER/mesh.npz (vertices of about unit size, faces, size, padding), writes FOLDER/corners.npz: corners (f, 3, 2)
in texels, x to the right and y upwards, and the atlas's width and height. A process of its own because xatlas (C++) may
run without end or crash on bad geometry. It imports nothing of the package, to start quickly.
"""

import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

FACES_PER_PART = 6500
"""xatlas's time grows faster than the faces of a connected piece, so the mesh is cut into parts. On three meshes of
50,000 faces, 8 parts take 4.4 to 5.7 s instead of 7.8 to 9.8 s and have 6 to 24 % less seam (cuts included); smaller
parts are faster still, but cut large charts."""
SPARE = 1.12
"""xatlas fills a square larger by about this factor than the one asked for; padding must survive scaling it down."""
NO_XATLAS = 3
"""Exit code when xatlas is not installed."""


def charts(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], size: int, padding: int
) -> tuple[Float[np.ndarray, "f 3 2"], int, int]:
    """Corners of every face in texels of xatlas's atlas, and its width and height. Nothing is mirrored."""
    import xatlas

    atlas = xatlas.Atlas()
    parts = split(vertices[faces].mean(axis=1))
    for part in parts:
        used, renumbered = np.unique(faces[part], return_inverse=True)
        atlas.add_mesh(vertices[used].astype(np.float32), renumbered.reshape(-1, 3).astype(np.uint32))
    chart_options, pack_options = xatlas.ChartOptions(), xatlas.PackOptions()
    chart_options.fix_winding = True
    pack_options.resolution, pack_options.padding, pack_options.bilinear = size, round(padding * SPARE), True
    # xatlas turns charts by swapping their axes, which mirrors them.
    pack_options.rotate_charts = False
    atlas.generate(chart_options, pack_options, False)
    if atlas.atlas_count != 1:
        raise RuntimeError(f"xatlas made {atlas.atlas_count} images instead of one")
    corners = np.empty((len(faces), 3, 2), dtype=np.float32)
    for number, part in enumerate(parts):
        _, corner_vertices, places = atlas.get_mesh(number)
        corners[part] = places[corner_vertices] * np.array([atlas.width, atlas.height], dtype=np.float32)
    return corners, atlas.width, atlas.height


def split(middles: Float[np.ndarray, "f 3"]) -> list[Int[np.ndarray, "g"]]:
    """Faces in parts of at most FACES_PER_PART: halved again and again across the longest side of its box."""
    done, waiting = [], [np.arange(len(middles))]
    while waiting:
        part = waiting.pop()
        if len(part) <= FACES_PER_PART:
            done.append(np.sort(part))
            continue
        longest = np.ptp(middles[part], axis=0).argmax()
        along = part[np.argsort(middles[part, longest], kind="stable")]
        waiting += [along[len(along) // 2 :], along[: len(along) // 2]]
    return done


def main(folder: Path) -> int:
    """Read the mesh, make charts, write them; the exit code."""
    try:
        import xatlas  # noqa: F401
    except ImportError:
        return NO_XATLAS
    with np.load(folder / "mesh.npz", allow_pickle=False) as mesh:
        corners, width, height = charts(mesh["vertices"], mesh["faces"], int(mesh["size"]), int(mesh["padding"]))
    np.savez(folder / "corners.npz", corners=corners, width=width, height=height)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
