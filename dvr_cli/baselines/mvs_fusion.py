"""Fusing depth maps: what other views confirm becomes one cloud with normals and colours."""

import math

import numpy as np
import torch
from jaxtyping import Float

from dvr_cli.fitting.stereo import PlaneMaps
from dvr_cli.fitting.stereo_settings import MvsSettings
from dvr_cli.kernels.fusion import Agreement, count_agreeing, fuse
from dvr_cli.scenes.cameras import apply
from dvr_cli.surfaces.cloud import PointCloud


def fused_cloud(maps: PlaneMaps, world_from_cube: Float[np.ndarray, "4 4"], settings: MvsSettings) -> PointCloud:
    """The points that enough views agree on, in the world; an empty cloud when there are none."""
    agreement = Agreement(
        settings.depth_tolerance, settings.pixel_tolerance, math.cos(math.radians(settings.normal_tolerance))
    )
    shared = (maps.witnesses, agreement)
    listed = (maps.matching, maps.views, maps.pixels, maps.planes)
    place = maps.stack.pixel_index(maps.views, maps.pixels)
    candidates = (maps.costs < settings.largest_cost).to(torch.uint8)
    count = count_agreeing(*listed, candidates, *shared)
    believed = torch.zeros_like(candidates)
    sure = (count >= 1) & (maps.costs[place] < settings.sure_cost)
    believed[place] = (sure | (count >= settings.agreeing)).to(torch.uint8)
    emitted, *found = fuse(*listed, believed, maps.stack.rgb, *shared)
    points, normals, colours = (array[emitted].cpu().numpy().astype(np.float64) for array in found)
    normals = normals @ (world_from_cube[:3, :3] / np.cbrt(np.linalg.det(world_from_cube[:3, :3]))).T
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return PointCloud(apply(world_from_cube, points), normals, np.clip(colours, 0, 1))
