"""The networks' part in the fitting loop: Adam on the published losses, one step after the other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dvr_cli.config import Network, Settings
from dvr_cli.fields.grid import GridField
from dvr_cli.fields.kinds import make_network_field
from dvr_cli.fields.mlp import NetworkField
from dvr_cli.fitting.course import Course
from dvr_cli.fitting.depth_terms import MOST_DRAWN, DepthTargets
from dvr_cli.fitting.events import Message, StepReport
from dvr_cli.fitting.network_start import fit_to_grid
from dvr_cli.fitting.network_step import Draws, KnownPoints, Pixels, draw_patches, step_losses
from dvr_cli.kernels.distances import signed_distance
from dvr_cli.kernels.hull import visual_hull
from dvr_cli.kernels.march import march
from dvr_cli.kernels.views import ViewArrays

MOST_OF_TIME = 0.25
"""Of a run's time limit, for fitting the network to the hull."""
STEPS_BETWEEN_LOOKS = 20
"""Steps after which the network is asked anew where empty space is."""


@dataclass
class NetworkState:
    """What is kept between steps besides the field."""

    adam: torch.optim.Adam


class NetworkKind:
    """Implements `fitting.kinds.Kind`."""

    torch_threads: int | None = None
    needs_masks = True

    def __init__(self, name: str) -> None:
        self._name = name

    def begin(
        self,
        first_grid: Callable[[], GridField],
        settings: Settings,
        device: torch.device,
        report: Callable[[StepReport | Message], None],
        stop: Callable[[], None],
    ) -> NetworkField:
        """A network as it is initialised, by the run's seed, or fitted to the carved hull."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            field = make_network_field(self._name, settings.network).to(device)
        if begins_at_hull(settings):
            grid = first_grid()
            report(Message(f"Fitting the network to the visual hull ({settings.network.start_steps} steps)"))
            most = None if settings.time_limit is None else MOST_OF_TIME * settings.time_limit
            fit_to_grid(field, grid, settings.network, settings.seed, report, stop, most)
        return field

    def stepper(
        self,
        course: Course,
        stack: ViewArrays,
        depth: DepthTargets,
        settings: Settings,
        report: Callable[[Message], None],
    ) -> "NetworkStepper":
        """Ready for the steps of the course's level."""
        assert isinstance(course.field, NetworkField)
        if course.optimiser is None:
            course.optimiser = NetworkState(make_adam(course.field, settings.network))
        return NetworkStepper(course.field, course.optimiser, stack, depth, settings, course.level)

    def pack(self, field: NetworkField, optimiser: NetworkState | None) -> dict[str, Any]:
        """Parameters, Adam's moments, and the mask of empty space."""
        state: dict[str, Any] = {
            "architecture": field.settings.model_dump(mode="json"),
            "network": _copied(field.network.state_dict()),
            "empty": None if field.empty is None else field.empty.to("cpu", copy=True),
        }
        if optimiser is not None:
            state["adam"] = _copied(optimiser.adam.state_dict())
        return state

    def unpack(self, state: dict[str, Any], device: torch.device) -> tuple[NetworkField, NetworkState | None]:
        """The inverse of `pack`. Sizes are checked by `Network` before anything is allocated."""
        settings = Network.model_validate(state["architecture"])
        field = make_network_field(self._name, settings)
        field.network.load_state_dict(state["network"])
        field.to(device)
        if state["empty"] is not None:
            if state["empty"].dtype != torch.bool or state["empty"].shape != (settings.empty_cells,) * 3:
                raise ValueError("the mask of empty space is not of the size that the settings say")
            field.empty = state["empty"].to(device)
        if "adam" not in state:
            return field, None
        adam = make_adam(field, settings)
        adam.load_state_dict(state["adam"])
        for parameter, moments in adam.state.items():
            if any(moments[name].shape != parameter.shape for name in ("exp_avg", "exp_avg_sq")):
                raise ValueError("Adam's moments are not of the shape of the parameters")
        return field, NetworkState(adam)


class NetworkStepper:
    """Takes the steps of one level."""

    def __init__(
        self,
        field: NetworkField,
        state: NetworkState,
        stack: ViewArrays,
        depth: DepthTargets,
        settings: Settings,
        level: int,
    ) -> None:
        self._field, self._state, self._stack, self._depth = field, state, stack, depth
        self._settings, self._rays = settings.network, settings.levels[level].rays or settings.rays_per_step
        self._hull = None if self._settings.hull_voxels is None else hull_of(stack, self._settings.hull_voxels)

    def step(self, level_step: int, share: float, generator: torch.Generator) -> list[dict[str, Tensor]]:
        """Draw patches, sum the losses, let Adam take the step."""
        settings, field = self._settings, self._field
        if settings.empty_cells is not None and (field.empty is None or level_step % STEPS_BETWEEN_LOOKS == 0):
            field.find_empty_space(settings.empty_cells)
        views, pixels = draw_patches(self._stack, settings.views_per_step, self._rays, generator)
        drawn = self._pixels(views, pixels)
        draws = Draws.of(len(views), generator, views.device)
        points = self._known_points(views, generator)
        place = round(share * settings.full_run)
        total, reported = step_losses(field, drawn, draws, settings, ray_steps(settings, place), points)
        adam = self._state.adam
        for group in adam.param_groups:
            group["lr"] = learning_rate(settings, place, self._stack.count, share)
        adam.zero_grad()
        total.backward()
        adam.step()
        return [reported]

    def _pixels(self, views: Tensor, pixels: Tensor) -> Pixels:
        origins, directions = self._stack.rays(views, pixels)
        index = self._stack.pixel_index(views, pixels)
        dense = self._depth.dense
        known = None if dense is None else dense[index]
        hull_t = None if self._hull is None else meets_or_nears(self._hull, origins, directions)
        return Pixels(origins, directions, self._stack.rgb[index], self._stack.masks[index], known, hull_t)

    def _known_points(self, views: Tensor, generator: torch.Generator) -> KnownPoints | None:
        """Sparse points that the step's photographs saw, at most as many as a step of the grid draws."""
        sparse = self._depth.sparse
        if sparse is None or not len(sparse.pair_points):
            return None
        seen = torch.isin(sparse.pair_views, views.unique()).nonzero().squeeze(1)
        if len(seen) > MOST_DRAWN:
            seen = seen[torch.randint(len(seen), (MOST_DRAWN,), generator=generator).to(seen.device)]
        points = sparse.points[sparse.pair_points[seen].long()]
        origins = self._stack.centres[sparse.pair_views[seen].long()]
        return KnownPoints(origins, torch.nn.functional.normalize(points - origins, dim=1), points)


def hull_of(stack: ViewArrays, voxels: int) -> Float[Tensor, "n n n"]:
    """Signed distances to the visual hull of the masks."""
    return signed_distance(visual_hull(stack, voxels, radius=torch.inf))


def begins_at_hull(settings: Settings) -> bool:
    """Whether the network is fitted to the hull before the first step (`Network.start`)."""
    steps = sum(level.steps for level in settings.levels)
    is_short = settings.time_limit is not None or steps < settings.network.full_run
    return settings.network.start == "hull" or (settings.network.start == "auto" and is_short)


def meets_or_nears(
    hull: Float[Tensor, "n n n"], origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]
) -> Float[Tensor, "r"]:
    """Distance at which rays meet the hull or, of those that miss it, come nearest to it; 0 for rays past its cube.

    Thin parts fall through the hull's vertices, and masks that contradict each other by a pixel leave nothing of them.
    """
    t, hit, nearest_t, nearest_value, _ = march(hull, origins, directions)
    return torch.where(hit, t, torch.where(nearest_value.isfinite(), nearest_t, 0.0))


def make_adam(field: NetworkField, settings: Network) -> torch.optim.Adam:
    """The paper's optimiser with its usual constants."""
    return torch.optim.Adam(field.network.parameters(), lr=settings.learning_rate)


def ray_steps(settings: Network, place: int) -> int:
    """Samples per ray at a step of the full run."""
    return settings.ray_steps * 2 ** sum(place >= at for at in settings.doubled_at)


def learning_rate(settings: Network, place: int, views: int, share: float) -> float:
    """Adam's rate at a step of the full run; an epoch is one pass over the views, `share` how far the level is."""
    epoch = place * settings.views_per_step // views
    halvings = sum(epoch >= at for at in settings.halved_at)
    return settings.learning_rate * 0.5**halvings * settings.final_rate**share


def _copied(state: Any) -> Any:
    """A state dict with its tensors copied to the CPU."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    return [_copied(value) for value in state] if isinstance(state, list | tuple) else state
