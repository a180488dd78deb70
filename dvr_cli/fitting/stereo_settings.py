"""The settings of multi-view stereo: the one place where the default values of the baseline `mvs` stand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MvsLevel:
    """What is done at one image scale."""

    passes: int
    """Rounds of propagation and random changes over both colours of the checkerboard."""
    reach: int
    """Planes are taken over from pixels up to 2 * reach - 1 away."""
    draws: int
    """Random changes that each pixel tries per round."""
    scale: float
    """Size of the first round's changes; it halves every round. 1: depth within 10 %, tilt within 45 degrees."""
    refinements: int
    """Gauss-Newton steps at the end."""
    radius: int = 3
    """Half width of the compared patches, pixels of this scale."""
    stride: int = 1
    """Pixels between the patches' taps."""


@dataclass(frozen=True)
class MvsSettings:
    """How depth maps are made, checked and fused."""

    image_size: int | None = 800
    """Photographs are halved until their longest side is at most this, three times at most; None: not at all."""
    levels: tuple[MvsLevel, ...] = (
        MvsLevel(passes=4, reach=4, draws=3, scale=1.0, refinements=2),
        MvsLevel(passes=2, reach=3, draws=1, scale=0.2, refinements=2),
        MvsLevel(passes=1, reach=2, draws=0, scale=0.1, refinements=2),
    )
    """Coarse to fine, each at twice the size of the one before."""
    spacing: float = 1.0
    """Pixels, in the source views, between the planes of the first sweep."""
    sources: int = 8
    """Views with which each view is compared."""
    keep: int = 4
    """Sources that count for a pixel, the best ones."""
    noise: float = 0.01
    """Standard deviation of grey values that is not texture."""
    damping: float = 0.01
    """Loss per squared pixel of movement that a Gauss-Newton step must gain."""
    geometric_passes: int = 1
    """Rounds at the finest scale in which planes shall also agree with those of the other views."""
    geometric: float = 0.2
    """What a plane costs per pixel of contradiction in such a round."""
    hull_voxels: int = 96
    """Vertices per side of the grid that holds the visual hull."""
    hull_margin: float = 1.5
    """Voxels outside the hull at which planes are still looked for: masks are not exact."""
    largest_cost: float = 1.0
    """No plane with a larger mean loss is believed. Faint texture costs nearly 1; that views agree says more."""
    witnesses: int = 12
    """Views that are asked whether they agree with a depth."""
    agreeing: int = 2
    """Of these, as many must."""
    sure_cost: float = 0.6
    """Where a plane costs less than this, one is enough."""
    depth_tolerance: float = 0.005
    """Relative difference of depths that agree."""
    pixel_tolerance: float = 1.0
    """Pixels by which a point may miss its pixel on the way to another view's surface and back."""
    normal_tolerance: float = 40.0
    """Degrees between normals that agree."""
