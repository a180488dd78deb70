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
SMOOTHING_STEPS, NORMAL_SHARE, TANGENTIAL_SHARE = 2, 0.5, 0.1
"""Charts are grown on a slightly smoothed mesh: noise and slivers stop their growth. On three meshes of 50,000 faces
this makes 156 to 375 charts instead of 558 to 766, with 25 to 41 % less seam, and on one of 274,000 faces 435 instead
of 10,764 in half of the time. The price is an even stretch: half of the surface is stretched by 1.10 or more (length to
width) instead of 1.01, the worst hundredth by 1.45 to 1.54 instead of 1.24 to 1.41. A larger tangential share makes
fewer charts yet and stretches more."""
FEWEST_SMOOTHED = 2000
"""Faces; a coarser mesh has no noise, only shape."""
SPARE = 1.12
"""xatlas fills a square larger by about this factor than the one asked for; padding must survive scaling it down."""
NO_XATLAS = 3
"""Exit code when xatlas is not installed."""


def charts(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], size: int, padding: int
) -> tuple[Float[np.ndarray, "f 3 2"], int, int]:
    """Corners of every face in texels of xatlas's atlas, and its width and height. Nothing is mirrored."""
    import xatlas

    if len(faces) >= FEWEST_SMOOTHED:
        vertices = smoothed(vertices, faces)
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


def smoothed(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "v 3"]:
    """Vertices moved towards the middle of their neighbours, along the normal more than within the surface."""
    vertices = vertices.astype(np.float64)
    neighbours = np.maximum(2 * np.bincount(faces.ravel(), minlength=len(vertices)), 1)[:, None]
    for _ in range(SMOOTHING_STEPS):
        corners = vertices[faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = _summed(np.repeat(normals[:, None], 3, axis=1), faces, len(vertices))
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        # A vertex that no face uses has no neighbours and stays.
        others = _summed(corners.sum(axis=1, keepdims=True) - corners, faces, len(vertices))
        move = np.where(neighbours > 1, others / neighbours - vertices, 0)
        along = normals * (normals * move).sum(axis=1, keepdims=True)
        vertices = vertices + NORMAL_SHARE * along + TANGENTIAL_SHARE * (move - along)
    return vertices


def _summed(values: Float[np.ndarray, "f 3 3"], faces: Int[np.ndarray, "f 3"], count: int) -> Float[np.ndarray, "v 3"]:
    """Sum over all corners at each vertex."""
    flat, index = values.reshape(-1, 3), faces.ravel()
    return np.stack([np.bincount(index, weights=flat[:, axis], minlength=count) for axis in range(3)], axis=1)


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
