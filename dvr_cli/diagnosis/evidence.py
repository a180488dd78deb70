"""What a diagnosis is made from: views with small masks, what headers and pixels of the photographs say, and failures.

Photographs are looked at one after the other and let go, so that a thousand of them need no more memory than a few;
files that cannot be decoded are collected instead of ending the work.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from dvr_cli.diagnosis.headers import Header, read_header
from dvr_cli.diagnosis.pixel_figures import PixelFigures, pixel_figures
from dvr_cli.errors import SceneError
from dvr_cli.processors import available_threads
from dvr_cli.scenes.hull import is_full, sampled
from dvr_cli.scenes.images import (
    SMALL_MASK,
    load_mask,
    load_view,
    small_mask,
    small_masks,
    working_shape,
)
from dvr_cli.scenes.views import LoadedView, Scene, View

PHOTOGRAPH_SIZE = 800
"""Longest side at which sharpness and exposure are judged."""
MASK_SIZE = 400
"""Longest side of the masks for the hull."""


@dataclass(frozen=True)
class ViewEvidence:
    """One view, examined."""

    view: View
    loaded: LoadedView
    """With its mask at most MASK_SIZE pixels a side, and a black photograph that takes no memory."""
    header: Header | None
    pixels: PixelFigures | None
    """None where the photograph was not or could not be decoded."""
    photograph_problem: str = ""
    """Why it cannot be decoded; empty when it can."""
    mask_problem: str = ""


@dataclass(frozen=True)
class Evidence:
    """A scene, examined."""

    scene: Scene
    views: tuple[ViewEvidence, ...]

    @property
    def loaded(self) -> list[LoadedView]:
        """All views with small masks."""
        return [view.loaded for view in self.views]

    @property
    def masked(self) -> list[LoadedView]:
        """Those of them that have a mask with any object and any background in it."""
        return [view for view in self.carving if view.mask is not None and view.mask.any()]

    @property
    def carving(self) -> list[LoadedView]:
        """All views but those whose mask is white all over, and so contradicts and confirms nothing."""
        return [view for view in self.loaded if view.mask is None or not is_full(view.mask)]


def examine(
    scene: Scene, threads: int | None = None, decode: bool = True, report: Callable[[int, int], None] | None = None
) -> Evidence:
    """Look at every view; with `decode=False` at headers and masks only.

    `report(done, total)` is called in this thread.
    """

    def look(view: View) -> ViewEvidence:
        return _decoded(view) if decode else _glanced(view)

    found: list[ViewEvidence] = []
    with ThreadPoolExecutor(threads or available_threads()) as pool:
        for one in pool.map(look, scene.views):
            found.append(one)
            if report:
                report(len(found), len(scene.views))
    return Evidence(scene, tuple(found))


def from_loaded(scene: Scene, views: list[LoadedView]) -> Evidence:
    """The evidence of views that are in memory already, at whatever size."""
    described = {view.name: view for view in scene.views}
    return Evidence(
        scene,
        tuple(
            ViewEvidence(described[view.name], _small(view, MASK_SIZE), None, pixel_figures(view.image, view.mask))
            for view in views
        ),
    )


def _decoded(view: View) -> ViewEvidence:
    header, problem = read_header(view.image_path)
    mask, mask_problem = _mask(view, PHOTOGRAPH_SIZE)
    try:
        whole = load_view(replace(view, mask_path=None), PHOTOGRAPH_SIZE)
    except SceneError as error:
        return ViewEvidence(view, _small(_empty(view, mask), MASK_SIZE), header, None, str(error), mask_problem)
    whole = replace(whole, mask=mask)
    figures = pixel_figures(whole.image, mask)
    return ViewEvidence(view, _small(whole, MASK_SIZE), header, figures, problem, mask_problem)


def _glanced(view: View) -> ViewEvidence:
    header, problem = read_header(view.image_path)
    mask, mask_problem = _mask(view, SMALL_MASK)
    return ViewEvidence(view, _empty(view, mask, SMALL_MASK), header, None, problem, mask_problem)


def _mask(view: View, longest: int) -> tuple[np.ndarray | None, str]:
    if view.mask_path is None:
        return None, ""
    try:
        if longest == SMALL_MASK:
            return small_mask(view), ""
        return load_mask(view, *working_shape(view.camera.height, view.camera.width, longest)), ""
    except SceneError as error:
        return None, str(error)


def _empty(view: View, mask: np.ndarray | None, longest: int = PHOTOGRAPH_SIZE) -> LoadedView:
    """The view with a black photograph."""
    (bare,) = small_masks((replace(view, mask_path=None),), longest, threads=1)
    return replace(bare, mask=mask)


def _small(view: LoadedView, longest: int) -> LoadedView:
    """The view with a mask of at most so many pixels a side, by the pixel at each centre, and a black photograph."""
    height, width = working_shape(view.camera.height, view.camera.width, longest)
    mask = None if view.mask is None else sampled(view.mask, height, width)
    black = np.broadcast_to(np.float32(0), (height, width, 3))
    return LoadedView(view.name, view.camera.resized(height, width), black, mask)
