"""A dense cloud from photographs and poses alone, on any machine: PatchMatch depth maps, checked and fused.

The parts are `fitting.stereo` (which views to compare, depth maps) and `mvs_fusion` (what other views confirm).
docs/mvs_baseline.md explains the method and what was measured.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from dvr_cli.baselines.mvs_fusion import fused_cloud
from dvr_cli.errors import CompareError
from dvr_cli.fitting.devices import resolve_device, torch_threads
from dvr_cli.fitting.stereo import plane_maps, region_of
from dvr_cli.fitting.stereo_settings import MvsLevel, MvsSettings
from dvr_cli.kernels import launch
from dvr_cli.scenes.views import LoadedView
from dvr_cli.surfaces.cloud import PointCloud

__all__ = ["MvsLevel", "MvsSettings", "dense_cloud"]

FEWEST_VIEWS = 3
"""A depth is found in one view by comparing others, and confirmed by at least two others."""


def dense_cloud(
    views: Sequence[LoadedView],
    unit_from_world: Float[np.ndarray, "4 4"],
    settings: MvsSettings = MvsSettings(),  # noqa: B008 (it is frozen)
    report: Callable[[int, int], None] | None = None,
    *,
    device: str = "cpu",
    threads: int | None = None,
    seed: int = 0,
) -> PointCloud:
    """Points on the surface with outward unit normals and colours, in the world.

    `unit_from_world` takes the region of interest into the unit ball; nothing outside of it is looked for. Views
    without masks are used whole. `report(done, total)` is called after each pass over the pixels. The result does not
    depend on `threads` (None: all cores). Raises CompareError for fewer than three views and when no depth is
    confirmed, SceneError when masks leave no room for an object, DeviceError for a device that is not there.
    """
    if len(views) < FEWEST_VIEWS:
        raise CompareError(
            f"A dense cloud needs at least {FEWEST_VIEWS} views, and there are {len(views)}: each depth is found by "
            "comparing a view with others and must be confirmed by two of them.\n"
            "Pass more views, or leave this baseline out."
        )
    where = resolve_device(device)
    launch.set_threads(threads)
    with torch_threads(1):
        region = region_of(views, unit_from_world, settings, where)
        maps = plane_maps(views, region, settings, where, report or (lambda done, total: None), seed)
        cloud = fused_cloud(maps, np.linalg.inv(region.cube.cube_from_world), settings)
    if not len(cloud.points):
        raise CompareError(
            f"No depth in {len(views)} views is confirmed by {settings.agreeing} others, so there is no dense cloud.\n"
            "Expected photographs of a textured surface whose neighbours look from 5 to 30 degrees apart. Look at "
            "photographs and cameras with dvr inspect SCENE; more views between the present ones help most."
        )
    return cloud
