"""What all columns of a comparison are measured by: cleaned by the same masks, coloured and judged by the same views.

Cleaning is the field's usual rule (`surfaces.culling`): what leaves a mask, widened by some pixels, is cut away.
Colours come from the photographs that a method was given, by one rule for every mesh, so that images judge shapes and
not ways of colouring. Both are done to our meshes, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from dvr_cli.baselines.colouring import colour_from_views
from dvr_cli.comparing.measures import Evaluation
from dvr_cli.comparing.photographs import judge_images, judge_silhouettes
from dvr_cli.comparing.rephotography import rephotograph
from dvr_cli.scenes.views import LoadedView
from dvr_cli.surfaces.culling import MaskCuller
from dvr_cli.surfaces.mesh import Mesh


@dataclass(frozen=True)
class Yardstick:
    """Measures one mesh like any other."""

    views: Sequence[LoadedView]
    fitted: tuple[int, ...]
    """Indices of the views that the methods were given; the others were held out."""
    judged: tuple[int, ...]
    """Indices of the views that image measures are means over."""
    geometry: Callable[[Mesh], Evaluation] | None
    """The protocol that compares with the reference; None without one."""
    cull: int | None
    """Pixels by which masks are widened before what leaves them is cut away; None: nothing is cut."""
    lpips: bool = False

    @property
    def has_masks(self) -> bool:
        """Whether there is a mask to clean by."""
        return any(view.mask is not None for view in self.views)

    def cleaned(self, mesh: Mesh) -> tuple[Mesh, str | None]:
        """The mesh cleaned and coloured, and in a sentence what was cut away; CompareError when nothing is left."""
        note = None
        if self._culler is not None:
            culled = self._culler.cull(mesh)
            mesh, note = culled.mesh, f"{culled}." if culled.removed_faces else None
        return colour_from_views(mesh, [self.views[index] for index in self.fitted]), note

    def measured(self, mesh: Mesh) -> tuple[Evaluation, ...]:
        """Every evaluation that scene and reference allow, for a cleaned mesh."""
        found = [] if self.geometry is None else [self.geometry(mesh)]
        found.append(rephotograph(mesh, self.views, self.judged))
        if self.has_masks:
            found.append(judge_silhouettes(mesh, self.views, self.judged))
        found.append(judge_images(mesh, self.views, self.judged, lpips=self.lpips))
        return tuple(found)

    @cached_property
    def _culler(self) -> MaskCuller | None:
        return None if self.cull is None or not self.has_masks else MaskCuller(self.views, self.cull)


def judged_views(count: int, every: int, held_out: Sequence[int]) -> tuple[int, ...]:
    """The views held out if there are some, or else every `every`-th.

    >>> judged_views(20, 8, ())
    (0, 8, 16)
    """
    return tuple(held_out) if held_out else tuple(range(0, count, every))
