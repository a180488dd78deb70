"""A plane per pixel: costs, sweep, PatchMatch and Gauss-Newton against their twins, and on a plane and a sphere."""

from dataclasses import replace

import pytest
import torch

from dvr_cli.fitting.initial import mask_pixels, neighbour_views
from dvr_cli.kernels import launch, patchmatch
from dvr_cli.kernels.matching import Comparing, matching_of, with_known
from dvr_cli.kernels.planes import NO_PLANE
from dvr_cli.kernels.twins import patchmatch as twins
from dvr_cli.kernels.twins import planes as twin_planes
from dvr_cli.kernels.twins.cameras import directions_of, in_double
from tests.kernels.tiny_views import RADIUS, ball_sdf

COMPARING = Comparing(radius=2, stride=1, keep=2, noise=0.01, hull_margin=0.06)
EVERY = 29
"""Every such pixel is compared with the twin."""


class Maps:
    """The sphere's photographs, some of its pixels, and maps to work on."""

    def __init__(self, stack, comparing=COMPARING, step=1):
        self.stack, self.comparing = stack, comparing
        self.sources = neighbour_views(stack, 4)
        self.hull = ball_sdf(33) - 0.03
        self.matching = matching_of(stack, self.sources, self.hull, comparing)
        self.views, self.pixels = mask_pixels(stack, step)
        self.places = stack.pixel_index(self.views, self.pixels)
        self.planes = torch.zeros(len(stack.gray), 3)
        self.costs = torch.full((len(stack.gray),), float(NO_PLANE))

    def question(self, chosen=slice(None)):
        stack = in_double(self.stack)
        return twin_planes.Question(
            stack, self.sources, self.hull.double(), self.comparing, self.views[chosen], self.pixels[chosen]
        )

    def true_planes(self):
        """Planes that touch the sphere where the pixels' rays meet it; (planes, whether there is one)."""
        stack = in_double(self.stack)
        rays = directions_of(stack, self.views, self.pixels)
        origins = stack.centres[self.views.long()]
        length = rays.norm(dim=1)
        along = -(origins * rays).sum(dim=1) / length
        inside = RADIUS**2 - (origins.square().sum(dim=1) - along**2)
        t = along - inside.clamp(min=0).sqrt()
        points = origins + rays * (t / length)[:, None]
        normals = torch.nn.functional.normalize(points, dim=1)
        return self.planes_through(points, normals), inside > 0.05

    def planes_through(self, points, normals):
        """(w, wx, wy) of planes through points of the pixels' rays."""
        stack = in_double(self.stack)
        index = self.views.long()
        distance = ((points - stack.centres[index]) * normals).sum(dim=1)
        in_camera = torch.einsum("pij,pj->pi", stack.rotations[index], normals) / distance[:, None]
        slopes = torch.einsum("pji,pj->pi", stack.inverse_intrinsics[index], in_camera)
        pixel = torch.cat([self.pixels + 0.5, torch.ones(len(self.pixels), 1)], dim=1)
        return torch.stack([(slopes * pixel).sum(dim=1), slopes[:, 0], slopes[:, 1]], dim=1)

    def guess(self, seed=0, size=0.02):
        """Write true planes with errors into the maps."""
        planes, exists = self.true_planes()
        generator = torch.Generator().manual_seed(seed)
        error = 1 + size * (2 * torch.rand(len(planes), 3, generator=generator, dtype=torch.float64) - 1)
        self.planes[self.places] = torch.where(exists[:, None], planes * error, 0).float()
        patchmatch.cost(self.matching, self.views, self.pixels, self.planes, self.costs)


@pytest.fixture
def maps(ball):
    return Maps(ball)


@pytest.mark.parametrize(
    "comparing",
    [COMPARING, Comparing(3, 2, 3, 0.02, 0.06), Comparing(2, 1, 4, 0.0, 0.06), Comparing(2, 1, 1, 0.01, -0.02)],
)
def test_costs_agree_with_the_twin(ball, comparing):
    maps = Maps(ball, comparing)
    maps.guess()
    some = slice(None, None, EVERY)
    expected = twin_planes.plane_costs(maps.question(some), maps.planes[maps.places[some]].double()).float()
    found = maps.costs[maps.places[some]]
    apart = (found - expected).abs() > 2e-3
    # A patch at the image's or the hull's border may be rounded to either side.
    assert apart.float().mean() < 2e-3
    assert (found == NO_PLANE).any()
    assert (found < 1).float().mean() > 0.3


def test_contradicting_other_views_costs_what_the_twin_says(ball):
    maps = Maps(ball)
    maps.guess(size=0.01)
    known, photometric = maps.planes.clone(), maps.costs.clone()
    matching = with_known(maps.matching, known, 0.3)
    patchmatch.cost(matching, maps.views, maps.pixels, maps.planes, maps.costs)
    some = slice(None, None, EVERY)
    question = replace(maps.question(some), known=known, geometric=0.3)
    expected = twin_planes.plane_costs(question, known[maps.places[some]].double()).float()
    assert ((maps.costs[maps.places[some]] - expected).abs() > 2e-3).float().mean() < 2e-3
    assert torch.all(maps.costs >= photometric - 1e-5)
    assert (maps.costs > photometric + 0.05).float().mean() > 0.1


def test_true_planes_cost_little_and_wrong_ones_much(maps):
    planes, exists = maps.true_planes()
    good, wrong = [], []
    for factor, costs in ((1.0, good), (1.06, wrong)):
        maps.planes[maps.places] = torch.where(exists[:, None], planes * factor, 0).float()
        patchmatch.cost(maps.matching, maps.views, maps.pixels, maps.planes, maps.costs)
        costs.append(maps.costs[maps.places][exists])
    comparable = good[0] < 1
    assert comparable.float().mean() > 0.6
    assert good[0][comparable].median() < 0.2
    assert wrong[0][comparable].median() > 0.5


def test_sweep_agrees_with_the_twin(ball):
    maps = Maps(ball, step=15)
    patchmatch.sweep(maps.matching, maps.views, maps.pixels, 4.0, maps.planes, maps.costs)
    some = slice(None, None, 3)
    planes, costs = twins.sweep(maps.question(some), 4.0)
    places = maps.places[some]
    assert len(places) > 50
    assert ((maps.costs[places] - costs).abs() < 2e-3).float().mean() > 0.97
    same = (maps.planes[places] - planes).abs().amax(dim=1) < 1e-4
    assert same.float().mean() > 0.97


def test_sweep_finds_the_sphere(ball):
    maps = Maps(ball, step=5)
    patchmatch.sweep(maps.matching, maps.views, maps.pixels, 1.0, maps.planes, maps.costs)
    true_planes, exists = maps.true_planes()
    believed = exists & (maps.costs[maps.places] < 0.3)
    assert believed.float().mean() > 0.2
    error = (maps.planes[maps.places, 0] / true_planes[:, 0] - 1)[believed].abs()
    assert error.median() < 0.005


def test_random_numbers_are_those_of_warp():
    """Expected values are Warp's own, so that the twin of `improve` draws what the kernel draws."""
    import warp as wp

    @wp.kernel(module="unique")
    def draw(seed: int, out: wp.array2d(dtype=wp.float32)):
        place = wp.tid()
        state = wp.rand_init(seed, place)
        for i in range(3):
            out[place, i] = wp.randf(state)

    expected = torch.zeros(50, 3)
    wp.launch(draw, dim=50, inputs=[1234, wp.from_torch(expected)], device="cpu")
    state = twins.random_start(1234, torch.arange(50))
    for i in range(3):
        state, number = twins.random_number(state)
        assert torch.equal(number, expected[:, i])


def test_improving_agrees_with_the_twin(maps):
    maps.guess()
    chosen = ((maps.pixels.sum(dim=1) % 2 == 0) & (maps.views < 2)).nonzero()[:, 0][::5]
    before = maps.planes.clone(), maps.costs.clone()
    how = {"reach": 3, "draws": 3, "scale": 0.2, "seed": 5}
    planes, costs = twins.improve(maps.question(chosen), before[0].double(), before[1].double(), **how)
    listed = maps.views[chosen], maps.pixels[chosen]
    patchmatch.improve(maps.matching, *listed, maps.planes, maps.costs, **how)
    places = maps.places[chosen]
    assert ((maps.costs[places] - costs).abs() < 2e-3).float().mean() > 0.98
    assert ((maps.planes[places] - planes).abs() < 1e-4).all(dim=1).float().mean() > 0.95
    assert (maps.costs[places] < before[1][places]).float().mean() > 0.3
    untouched = torch.ones(len(maps.costs), dtype=torch.bool)
    untouched[places] = False
    assert torch.equal(maps.planes[untouched], before[0][untouched])


def test_improving_never_costs_more(maps):
    maps.guess(size=0.1)
    before = maps.costs.clone()
    for colour in (0, 1):
        chosen = maps.pixels.sum(dim=1) % 2 == colour
        listed = maps.views[chosen], maps.pixels[chosen].contiguous()
        patchmatch.improve(maps.matching, *listed, maps.planes, maps.costs, reach=3, draws=2, scale=0.5, seed=colour)
    assert torch.all(maps.costs <= before)
    recorded = maps.costs.clone()
    patchmatch.cost(maps.matching, maps.views, maps.pixels, maps.planes, maps.costs)
    assert torch.allclose(recorded, maps.costs, atol=1e-5)


def test_a_refinement_step_agrees_with_the_twin(maps):
    maps.guess(size=0.004)
    some = (maps.costs[maps.places] < 0.5).nonzero()[:, 0][::EVERY]
    before, costs = maps.planes.clone(), maps.costs.clone()
    places, listed = maps.places[some], (maps.views[some], maps.pixels[some])
    question = maps.question(some)
    expected, curvature = twin_planes.refine_once(question, before[places].double(), costs[places].double(), 0.01)
    weights = torch.zeros_like(costs)
    patchmatch.refine(maps.matching, *listed, maps.planes, maps.costs, weights, steps=0, damping=0.01)
    assert torch.equal(maps.planes, before)
    relative = (weights[places] / curvature - 1).abs()
    assert (relative < 1e-2).float().mean() > 0.98
    patchmatch.refine(maps.matching, *listed, maps.planes, maps.costs, weights, steps=1, damping=0.01)
    moved = (maps.planes[places] != before[places]).any(dim=1)
    assert moved.float().mean() > 0.8
    step = (expected - before[places]).abs().amax(dim=1)
    error = (maps.planes[places] - expected).abs().amax(dim=1)[moved]
    assert (error < 0.02 * step[moved] + 1e-6).float().mean() > 0.98


def test_refinement_comes_near_the_sphere(maps):
    maps.guess(size=0.006)
    truth, exists = maps.true_planes()
    chosen = exists & (maps.costs[maps.places] < 0.5)

    def error():
        return (maps.planes[maps.places, 0] / truth[:, 0] - 1)[chosen].abs().median()

    before = error()
    patchmatch.refine(
        maps.matching, maps.views, maps.pixels, maps.planes, maps.costs, torch.zeros_like(maps.costs),
        steps=3, damping=0.001,
    )  # fmt: skip
    assert error() < 0.4 * before


def test_threads_change_nothing(ball):
    results = []
    for threads in (1, 3):
        launch.set_threads(threads)
        maps = Maps(ball, step=2)
        maps.guess(size=0.05)
        for colour in (0, 1):
            chosen = (maps.pixels // 2).sum(dim=1) % 2 == colour
            listed = maps.views[chosen], maps.pixels[chosen].contiguous()
            patchmatch.improve(maps.matching, *listed, maps.planes, maps.costs, reach=2, draws=3, scale=0.3, seed=9)
        results.append(maps.planes)
    assert torch.equal(*results)


def test_pixels_without_texture_have_no_preference(ball):
    grey = torch.full_like(ball.gray, 0.4)
    maps = Maps(replace(ball, gray=grey), step=5)
    maps.guess()
    listed = maps.costs[maps.places]
    assert torch.all((listed > 0.99) | (listed == NO_PLANE))


def test_nothing_listed_is_nothing_done(maps):
    none = torch.zeros(0, dtype=torch.int32), torch.zeros(0, 2, dtype=torch.int32)
    patchmatch.sweep(maps.matching, *none, 1.0, maps.planes, maps.costs)
    patchmatch.improve(maps.matching, *none, maps.planes, maps.costs, reach=2, draws=1, scale=1.0, seed=0)
    assert torch.all(maps.costs == NO_PLANE)
