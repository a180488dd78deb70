"""The two files of a DTU scan that its evaluation needs: ObsMaskN_10.mat and PlaneN.mat.

Both are MATLAB files of version 5 or 7. Names and shapes are looked at before any array is read, so that a file from a
stranger cannot fill the memory; only plain numbers are accepted.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import CompareError

MOST_VOXELS = 1 << 30
LARGEST_FILE = 1 << 30


@dataclass(frozen=True)
class ObservedVolume:
    """The voxels of a scan that the cameras observed (ObsMask, BB and Res)."""

    voxels: Bool[np.ndarray, "x y z"]
    """True = observed."""
    lower: Float[np.ndarray, "3"]
    """Centre of the first voxel, mm."""
    upper: Float[np.ndarray, "3"]
    """The other corner of the bounding box in the file, mm."""
    side: float
    """Of a voxel, mm."""

    def contains(self, points: Float[np.ndarray, "p 3"]) -> Bool[np.ndarray, "p"]:
        """Whether the voxel nearest to each point is one of the grid and observed.

        MATLAB counts voxels from one: round((Q - BB1) / Res + 1); half a voxel rounds up.
        """
        index = np.floor((points - self.lower) / self.side + 0.5)
        inside = ((index >= 0) & (index < self.voxels.shape)).all(axis=1)
        cell = index[inside].astype(np.int64)
        result = np.zeros(len(points), dtype=bool)
        result[inside] = self.voxels[cell[:, 0], cell[:, 1], cell[:, 2]]
        return result


def read_observed_volume(path: Path) -> ObservedVolume:
    """`ObsMask` (x, y, z), `BB` (2, 3) and `Res` of an ObsMask file; CompareError if they are not there or not so."""
    found = _read_arrays(path, {"ObsMask": (None, None, None), "BB": (2, 3), "Res": (1, 1)})
    # BB is stored in 16 bits and Res in 8: arithmetic in those types would overflow.
    box, side = found["BB"].astype(np.float64), float(found["Res"][0, 0])
    if not (np.isfinite(box).all() and (box[0] < box[1]).all() and np.isfinite(side) and side > 0):
        raise CompareError(
            f"{path}: BB is {box.tolist()} and Res {side:g}: expected a lower and an upper corner, and a voxel size.\n"
            "Fetch the file again from the DTU evaluation's SampleSet."
        )
    return ObservedVolume(found["ObsMask"] != 0, box[0], box[1], side)


def read_plane(path: Path) -> Float[np.ndarray, "4"]:
    """`P` of a Plane file: P . (x, y, z, 1) > 0 above the table; CompareError if it is not there or not a plane."""
    plane = _read_arrays(path, {"P": (4, 1)}, transposed=True)["P"].astype(np.float64).ravel()
    if not np.isfinite(plane).all() or not np.abs(plane[:3]).max() > 0:
        raise CompareError(
            f"{path}: P is {plane.tolist()}: expected the four finite numbers of a plane.\n"
            "Fetch the file again from the DTU evaluation's SampleSet."
        )
    return plane


def _read_arrays(
    path: Path, wanted: dict[str, tuple[int | None, ...]], transposed: bool = False
) -> dict[str, np.ndarray]:
    """The named arrays of numbers, of these shapes (None: any length; `transposed`: the other way round serves too)."""
    from scipy.io import loadmat, whosmat

    if not path.is_file():
        raise CompareError(f"{path} does not exist: expected a MATLAB file with {', '.join(wanted)}.\nCheck the path.")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it has more than {LARGEST_FILE >> 30} GiB")
        listed = {name: (shape, kind) for name, shape, kind in whosmat(path)}
        for name, shape in wanted.items():
            _check_listed(name, shape, listed, transposed)
        arrays = loadmat(path, variable_names=list(wanted))
        found = {name: np.asarray(arrays[name]) for name in wanted}
    except NotImplementedError as error:
        raise CompareError(
            f"{path} is a MATLAB 7.3 file, which cannot be read.\nSave it in MATLAB with: save -v7 FILE.mat"
        ) from error
    except Exception as error:  # a damaged file fails in as many ways as the parser has lines
        raise CompareError(
            f"{path} cannot be used: {error}.\nExpected the MATLAB file of the DTU evaluation with {', '.join(wanted)}."
        ) from error
    for name, array in found.items():
        if array.dtype.kind not in "biuf":
            raise CompareError(f"{path}: {name} has type {array.dtype}: expected plain numbers.")
    return found


def _check_listed(
    name: str, wanted: tuple[int | None, ...], listed: dict[str, tuple[tuple[int, ...], str]], transposed: bool
) -> None:
    """Raise ValueError unless the file lists an array of this name and shape, and of a size that can be read."""
    if name not in listed:
        raise ValueError(f"it has no array {name}, only {', '.join(listed) or 'none'}")
    shape, _ = listed[name]
    fits = _fits(shape, wanted) or (transposed and _fits(shape[::-1], wanted))
    if not fits:
        expected = " x ".join("n" if side is None else str(side) for side in wanted)
        raise ValueError(f"{name} is {' x '.join(map(str, shape))}, and not {expected}")
    count = 1
    for side in shape:
        count *= int(side)
    if not 0 < count <= MOST_VOXELS:
        raise ValueError(f"{name} has {count} values")


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(want in (None, have) for have, want in zip(shape, wanted, strict=True))
