"""Sparse points on the surface, from `sparse.npz`, a PLY cloud or a COLMAP model.

Points are in world units. `visibility` holds pairs (view index, point index), the view index counted within the views
of the scene. What each file holds is in docs/formats.md.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.errors import DepthError
from dvr_cli.scenes.arrays import read_npz, write_npz
from dvr_cli.scenes.views import SparseDepth

MAX_POINTS = 50_000_000
LARGEST_VALUE = 1e100


def read_sparse_depth(path: Path, view_names: tuple[str, ...], all_names: tuple[str, ...] | None = None) -> SparseDepth:
    """Points from a file or a COLMAP model folder; DepthError if they cannot be used.

    `view_names` are the scene's views: a COLMAP model refers to them by name, `sparse.npz` by their position in its own
    `view_names` if it has them, else in `all_names`, the images that the folder holds (None: the same).
    """
    if path.is_dir():
        from dvr_cli.scenes.readers.colmap import read_points

        return read_points(path, view_names)
    if path.suffix.lower() == ".npz":
        arrays = read_npz(path, DepthError)
        counted = _counted_names(arrays, str(path)) or all_names or view_names
        sparse = checked_sparse_depth(arrays, str(path), len(counted))
        if not set(counted) & set(view_names):
            raise DepthError(
                f"{path}: 'view_names' are {', '.join(counted[:3])} and so on: none of them is a photograph of the "
                f"scene ({', '.join(view_names[:3])} and so on).\n"
                "The points belong to another scene, or its photographs were renamed: make them again."
            )
        return _with_named_views(sparse, counted, view_names)
    if path.suffix.lower() == ".ply":
        return checked_sparse_depth(_ply_arrays(path), str(path))
    raise DepthError(
        f"{path} is no depth that can be read.\n"
        "Expected sparse.npz, a .ply point cloud, a COLMAP model folder or a folder of depth maps (docs/formats.md)."
    )


def checked_sparse_depth(arrays: dict[str, np.ndarray], where: str, view_count: int | None = None) -> SparseDepth:
    """Points from arrays by name (`points`, `visibility`, `error`, `colors`); DepthError for wrong shapes or values."""
    if "points" not in arrays:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise DepthError(f"{where} has no array 'points': found {found}.\nWrite points (N, 3) in world coordinates.")
    points = _numbers(arrays["points"], (None, 3), "points", where)
    if not 0 < len(points) <= MAX_POINTS:
        raise DepthError(f"{where} holds {len(points)} points: expected 1 to {MAX_POINTS}.\nWrite the points again.")
    visibility = arrays.get("visibility")
    if visibility is not None:
        visibility = _checked_visibility(visibility, len(points), view_count, where)
    error = arrays.get("error")
    if error is not None:
        error = _numbers(error, (len(points),), "error", where)
    colors = arrays.get("colors")
    if colors is not None:
        scale = 255.0 if colors.dtype.kind in "iu" else 1.0
        colors = np.clip(_numbers(colors, (len(points), 3), "colors", where) / scale, 0.0, 1.0)
    return SparseDepth(points, visibility, error, colors)


def write_sparse_depth(path: Path, sparse: SparseDepth, view_names: tuple[str, ...] | None = None) -> None:
    """Write `sparse.npz`; the inverse of `read_sparse_depth`.

    With `view_names`, the views that the visibility counts, the file fits the scene whatever images are added to it or
    left out of it.
    """
    named = {
        "points": sparse.points,
        "visibility": sparse.visibility,
        "error": sparse.error,
        "colors": sparse.colors,
        "view_names": None if view_names is None else np.array(view_names, dtype=np.str_),
    }
    write_npz(path, {name: array for name, array in named.items() if array is not None})


def with_views(sparse: SparseDepth, original_indices: tuple[int, ...]) -> SparseDepth:
    """The same points when only some views are kept: pairs of other views go, view indices are counted anew."""
    if sparse.visibility is None:
        return sparse
    highest = max(*original_indices, int(sparse.visibility[:, 0].max(initial=0)))
    new_index = np.full(highest + 1, -1, dtype=np.int64)
    new_index[list(original_indices)] = np.arange(len(original_indices))
    pairs = np.stack([new_index[sparse.visibility[:, 0]], sparse.visibility[:, 1]], axis=1)
    return SparseDepth(sparse.points, pairs[pairs[:, 0] >= 0], sparse.error, sparse.colors)


def with_points(sparse: SparseDepth, kept: Bool[np.ndarray, "p"]) -> SparseDepth:
    """Some of the points, with what is known about them."""
    pairs = sparse.visibility
    if pairs is not None:
        new_index = np.cumsum(kept) - 1
        pairs = pairs[kept[pairs[:, 1]]]
        pairs = np.stack([pairs[:, 0], new_index[pairs[:, 1]]], axis=1)
    error, colors = (None if array is None else array[kept] for array in (sparse.error, sparse.colors))
    return SparseDepth(sparse.points[kept], pairs, error, colors)


def _counted_names(arrays: dict[str, np.ndarray], where: str) -> tuple[str, ...]:
    """The names that the visibility of a `sparse.npz` counts; none if it does not say."""
    names = arrays.get("view_names")
    if names is None:
        return ()
    if names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) != len(names):
        raise DepthError(
            f"{where}: array 'view_names' has shape {names.shape} and type {names.dtype}: expected the file name of "
            "each photograph that 'visibility' counts, none of them twice.\n"
            "Write them as an array of texts, or leave them out and count the sorted list of all images."
        )
    return tuple(names.tolist())


def _with_named_views(sparse: SparseDepth, counted: tuple[str, ...], view_names: tuple[str, ...]) -> SparseDepth:
    """The points with their visibility counted within `view_names` instead of `counted`; pairs of other views go."""
    if sparse.visibility is None:
        return sparse
    index_of = {name: index for index, name in enumerate(view_names)}
    new_index = np.array([index_of.get(name, -1) for name in counted], dtype=np.int64)
    pairs = np.stack([new_index[sparse.visibility[:, 0]], sparse.visibility[:, 1]], axis=1)
    return SparseDepth(sparse.points, pairs[pairs[:, 0] >= 0], sparse.error, sparse.colors)


def _numbers(array: np.ndarray, shape: tuple[int | None, ...], name: str, where: str) -> Float[np.ndarray, "..."]:
    """The array as float64, if it has this shape (None: any length) and only finite numbers."""
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "fiu":
        wanted = "(" + ", ".join("N" if side is None else str(side) for side in shape) + ")"
        raise DepthError(
            f"{where}: array '{name}' has shape {array.shape} and type {array.dtype}: expected numbers of shape "
            f"{wanted}.\n"
            "Write it as docs/formats.md describes, section Sparse depth."
        )
    # What is larger would overflow when it is squared.
    bad = ~(np.abs(array.astype(np.float64)) < LARGEST_VALUE)
    if bad.any():
        raise DepthError(
            f"{where}: array '{name}' holds {int(bad.sum())} values that are NaN or infinite, the first in row "
            f"{int(np.argwhere(bad)[0, 0])}.\nLeave such points out."
        )
    return array.astype(np.float64)


def _checked_visibility(
    pairs: np.ndarray, point_count: int, view_count: int | None, where: str
) -> Int[np.ndarray, "m 2"]:
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise DepthError(
            f"{where}: array 'visibility' has shape {pairs.shape} and type {pairs.dtype}: expected whole numbers (M, "
            "2).\n"
            "Write pairs (view index, point index), both counted from 0."
        )
    limits = (view_count if view_count is not None else 1 << 20, point_count)
    outside = (pairs < 0) | (pairs >= np.array(limits))
    if outside.any():
        row = int(np.argwhere(outside)[0, 0])
        raise DepthError(
            f"{where}: row {row} of 'visibility' is ({pairs[row, 0]}, {pairs[row, 1]}): expected a view index below "
            f"{limits[0]} and a point index below {limits[1]}.\nWrite pairs (view index, point index), counted from 0."
        )
    return pairs.astype(np.int64)


def _ply_arrays(path: Path) -> dict[str, np.ndarray]:
    """Vertices and colours of a PLY file."""
    import trimesh

    try:
        _check_ply_header(path)
        with path.open("rb") as stream:
            # Given a stream instead of a path, trimesh cannot follow texture names to other files.
            loaded = trimesh.load(stream, file_type="ply", process=False)
    except DepthError:
        raise
    except FileNotFoundError:
        raise DepthError(f"{path} does not exist.\nCheck the path given to --depth.") from None
    except Exception as cause:
        # A damaged PLY makes the parser raise nearly anything.
        raise DepthError(f"{path} cannot be read as PLY: {cause}.\nWrite the point cloud again.") from cause
    # A cloud without points comes back as an empty scene.
    arrays = {"points": np.asarray(getattr(loaded, "vertices", np.zeros((0, 3))))}
    colors = getattr(loaded, "colors", None)
    if colors is not None and len(colors) == len(arrays["points"]):
        arrays["colors"] = np.asarray(colors)[:, :3]
    return arrays


def _check_ply_header(path: Path) -> None:
    """The header must not claim more elements than the file has bytes, or reading it would fill the memory."""
    with path.open("rb") as stream:
        header = stream.read(65536)
    body = header.find(b"end_header")
    if not header.startswith(b"ply") or body < 0:
        raise DepthError(f"{path} has no PLY header.\nWrite the point cloud again, as ascii or binary PLY.")
    for line in header[:body].splitlines():
        words = line.split()
        if words[:1] != [b"element"]:
            continue
        claimed = int(words[2]) if len(words) == 3 and words[2].isdigit() else -1
        if not 0 <= claimed <= path.stat().st_size:
            raise DepthError(
                f"{path} claims {words[-1].decode(errors='replace')} elements in a file of {path.stat().st_size} "
                "bytes.\n"
                "The file is damaged; write the point cloud again."
            )
