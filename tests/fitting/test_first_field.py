"""The hull carved by votes: what is unknown stays, what depths see through goes, rays through masks keep something."""

from dataclasses import dataclass, replace

import pytest
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.config import Start
from dvr_cli.fitting.initial import DepthMaps, carve, mask_pixels
from dvr_cli.kernels.distances import signed_distance
from dvr_cli.kernels.hull import visual_hull
from dvr_cli.kernels.views import ViewArrays
from tests.kernels.tiny_views import RADIUS, ball_views

N = 48
VOXEL = 2 / (N - 1)
TOP, HOLLOW, HOLLOW_RADIUS = 0.25, torch.tensor([0.0, 0.0, 0.3]), 0.45
"""A bowl: a ball cut at z = `TOP`, less a smaller ball. Its hull is full to the brim."""
START = Start(
    voxels=N, margin=1.5, certainty=0.5, surface_worth=2.0, most_votes=4.0, shell=2.5, free_votes=2, shell_worth=1.0
)


def bowl(points: Float[Tensor, "... 3"]) -> Float[Tensor, "..."]:
    """Positive outside of the bowl, and never more than the distance to it."""
    full = torch.maximum(points.norm(dim=-1) - RADIUS, points[..., 2] - TOP)
    return torch.maximum(full, HOLLOW_RADIUS - (points - HOLLOW).norm(dim=-1))


@dataclass(frozen=True)
class Bowl:
    """Twenty views of it, and what is true of them."""

    stack: ViewArrays
    hull: Float[Tensor, "n n n"]
    places: Int[Tensor, "p"]
    """Of the mask's pixels."""
    hits: Float[Tensor, "p 3"]
    t: Float[Tensor, "p"]
    shape: Float[Tensor, "n n n"]

    def depth(self, known: Bool[Tensor, "p"]) -> DepthMaps:
        """The exact distances of some of the mask's pixels."""
        t_map = torch.zeros(len(self.stack.gray))
        t_map[self.places] = torch.where(known, self.t, 0)
        return DepthMaps(t_map, self.stack.starts, 1)

    def carved(self, known: Bool[Tensor, "p"], touched: Float[Tensor, "q 3"] | None = None) -> Bool[Tensor, "n n n"]:
        return torch.as_tensor(carve(self.stack, self.hull, self.depth(known), START, touched))

    @property
    def all(self) -> Bool[Tensor, "p"]:
        return torch.ones(len(self.t), dtype=torch.bool)

    @property
    def hollow(self) -> Bool[Tensor, "n n n"]:
        """Vertices of the hull that depths must vote free: they do from a margin before the surface on."""
        return (self.hull < -VOXEL) & (self.shape > (START.margin + 0.5) * VOXEL)


@pytest.fixture(scope="module")
def scene() -> Bowl:
    whole = ball_views()
    views, pixels = mask_pixels(whole)
    origins, directions = whole.rays(views, pixels)
    t = torch.zeros(len(origins))
    for _ in range(300):
        t = t + bowl(origins + t[:, None] * directions)
    hits = origins + t[:, None] * directions
    hit = bowl(hits) < 1e-3
    places = whole.pixel_index(views, pixels)[hit]
    masks = torch.zeros_like(whole.masks)
    masks[places] = 1
    stack = replace(whole, masks=masks)
    axis = torch.linspace(-1, 1, N)
    vertices = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    hull = signed_distance(visual_hull(stack, N))
    return Bowl(stack, hull, places, hits[hit], t[hit], bowl(vertices))


def test_a_hull_about_which_nothing_is_known_stays_but_for_its_sharpest_edge(scene):
    kept = scene.carved(~scene.all)
    lost = (scene.hull < 0) & ~kept
    assert not lost[scene.hull < -1.5 * VOXEL].any()
    assert lost.sum() < 0.02 * (scene.hull < 0).sum()


def test_exact_depth_opens_the_bowl_and_nothing_else(scene):
    kept = scene.carved(scene.all)
    assert scene.hollow.sum() > 900
    assert not (kept & scene.hollow).any()
    assert kept[scene.shape < -VOXEL].all()


def test_a_part_without_depth_leaves_no_lump(scene):
    """Nothing is found at the bottom: what stands on it costs more area than the bottom itself."""
    bottom = torch.tensor([0.0, 0.0, 0.3 - HOLLOW_RADIUS])
    known = (scene.hits - bottom).norm(dim=1) > 0.2
    assert (scene.carved(known) & scene.hollow).sum() < 0.05 * scene.hollow.sum()


def test_few_depths_are_enough(scene):
    known = torch.rand(len(scene.t), generator=torch.Generator().manual_seed(0)) < 0.2
    kept = scene.carved(known)
    assert (kept & scene.hollow).sum() < 0.1 * scene.hollow.sum()
    assert kept[scene.shape < -VOXEL].float().mean() > 0.99


def test_depths_through_a_surface_are_outvoted(scene):
    """One view in five looks half a radius too far; the others see where the surface is."""
    views, _ = mask_pixels(scene.stack)
    wrong = replace(scene, t=scene.t + torch.where(views % 5 == 0, RADIUS / 2, 0))
    kept = wrong.carved(wrong.all)
    near = (scene.shape < -0.5 * VOXEL) & (scene.shape > -2.5 * VOXEL)
    assert kept[near].float().mean() > 0.99


def test_what_is_known_to_be_touched_stays_whatever_depths_say(scene):
    """All views look half a radius too far, as at mirror images; contours know the outside, which is round."""
    wrong = replace(scene, t=scene.t + RADIUS / 2)
    known = scene.hits[::20]
    known = known[known.norm(dim=1) > RADIUS - 0.5 * VOXEL]
    axis = torch.linspace(-1, 1, N)
    vertices = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    near = torch.cdist(vertices.reshape(-1, 3), known).min(dim=1).values.reshape(N, N, N) < 1.2 * VOXEL
    near &= scene.hull < 0
    assert wrong.carved(wrong.all)[near].float().mean() < 0.9
    assert wrong.carved(wrong.all, known)[near].float().mean() > 0.97


def test_every_ray_through_a_mask_keeps_something(scene):
    """Depths behind everything would carve all of it."""
    far = replace(scene, t=torch.full_like(scene.t, 99.0))
    kept = far.carved(far.all)
    assert kept.sum() < 0.5 * (scene.hull < 0).sum()
    origins, directions = scene.stack.rays(*mask_pixels(scene.stack, 2, only_known=True))
    met, could = (torch.zeros(len(origins), dtype=torch.bool) for _ in range(2))
    for t in torch.arange(2.0, 6.0, VOXEL / 4).tolist():
        at = ((origins + t * directions + 1) / VOXEL).round().long()
        within = ((at >= 0) & (at < N)).all(dim=1)
        i, j, k = at.clamp(0, N - 1).unbind(dim=1)
        met |= within & kept[i, j, k]
        could |= within & (scene.hull[i, j, k] < -VOXEL)
    assert could.float().mean() > 0.8
    assert met[could].all()
