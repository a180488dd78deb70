"""What all columns of a comparison are measured by: cleaned by the same masks, judged from the same views.

Cleaning is the field's usual rule (`comparing.culling`): what leaves a mask, widened by some pixels, is cut away. It is
done to every mesh, ours too, and the radius with the image size stands beside the numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dvr_cli.comparing.culling import cull_by_masks
from dvr_cli.comparing.measures import Evaluation
from dvr_cli.comparing.photographs import judge_images, judge_silhouettes
from dvr_cli.comparing.rephotography import rephotograph
from dvr_cli.scenes.views import LoadedView
from dvr_cli.surfaces.cleaning import face_areas
from dvr_cli.surfaces.mesh import Mesh


@dataclass(frozen=True)
class Yardstick:
    """Measures one mesh like any other."""

    views: Sequence[LoadedView]
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
        """The mesh after cleaning, and in a sentence how much of it went; CompareError when nothing is left."""
        if self.cull is None or not self.has_masks:
            return mesh, None
        kept = cull_by_masks(mesh, self.views, self.cull)
        before, after = float(face_areas(mesh).sum()), float(face_areas(kept).sum())
        share = 100 * (1 - after / before) if before > 0 else 0.0
        return kept, f"{share:.2g} % of its area lay outside the widened masks and was cut away."

    def measured(self, mesh: Mesh) -> tuple[Evaluation, ...]:
        """Every evaluation that scene and reference allow, for a cleaned mesh."""
        found = [] if self.geometry is None else [self.geometry(mesh)]
        found.append(rephotograph(mesh, self.views, self.judged))
        if self.has_masks:
            found.append(judge_silhouettes(mesh, self.views, self.judged))
        found.append(judge_images(mesh, self.views, self.judged, lpips=self.lpips))
        return tuple(found)


def judged_views(count: int, every: int, held_out: Sequence[int]) -> tuple[int, ...]:
    """The views held out if there are some, or else every `every`-th.

    >>> judged_views(20, 8, ())
    (0, 8, 16)
    """
    return tuple(held_out) if held_out else tuple(range(0, count, every))
