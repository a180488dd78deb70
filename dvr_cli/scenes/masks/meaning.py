"""Inverted masks: white on the background, all of a scene or one among good ones.

An object seldom fills the border of its photographs, so masks that are white along most of it are suspicious. The
other masks decide: their hull is asked whether it looks like the mask, or like what the mask leaves out.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.bounds import find_bounds
from dvr_cli.scenes.hull import sampled
from dvr_cli.scenes.images import SMALL_MASK, small_masks
from dvr_cli.scenes.listing import listed
from dvr_cli.scenes.masks.auto.agreement import opinions
from dvr_cli.scenes.views import LoadedView, SparseDepth, View

MOST_VIEWS = 200
"""Of a larger scene, evenly chosen ones are looked at."""
MOSTLY_WHITE = 0.5
"""Share of the border from which on a mask is suspicious ..."""
UNLIKE_OTHERS = 0.4
"""... and how much larger than usual it must be where most masks of a scene are not."""
LOOKS_LIKE = 0.6
"""IoU from which on a mask looks like the hull of others; good masks of few views have 0.7 and more."""
CLEARLY = 0.2
"""By how much the inverted mask must look more like the hull than the mask as it is."""
FEWEST_WITNESSES = 3


def with_meanings(
    views: Sequence[View], world_from_unit: Float[np.ndarray, "4 4"] | None, sparse: SparseDepth | None
) -> tuple[tuple[View, ...], tuple[str, ...]]:
    """The views, inverted masks marked as such, and a note for each thing found.

    Masks whose meaning is other than "white" are left alone. `world_from_unit`: the region of interest, where the
    format says it; else it is found from masks (`bounds`).
    """
    chosen = [view for view in views if view.mask_path is not None and view.mask_meaning == "white"]
    chosen = chosen[:: -(-len(chosen) // MOST_VIEWS) or 1]
    if len(chosen) < FEWEST_WITNESSES:
        return tuple(views), ()
    small = small_masks(tuple(chosen), SMALL_MASK)
    white = np.array([border_share(view) for view in small])
    unit = None if world_from_unit is None else np.linalg.inv(world_from_unit)
    if np.median(white) > MOSTLY_WHITE:
        inverted = [_inverse(view) for view in small]
        if _clearly(_likeness(inverted, unit, sparse), _likeness(small, unit, sparse)):
            odd = _odd_ones(inverted, 1 - white, unit, sparse)
            note = "the masks are white on the background and black on the object: they are taken the other way round"
            return _unflip(_flip(views, None), odd), (note, *_odd_notes(odd, "black on the background"))
        return tuple(views), ()
    odd = _odd_ones(small, white, unit, sparse)
    return _flip(views, odd), _odd_notes(odd, "white on the background")


def border_share(view: LoadedView) -> float:
    """Which share of the pixels along the border of a mask is object."""
    assert view.mask is not None
    mask = view.mask
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return float(border.mean())


def _odd_ones(
    small: Sequence[LoadedView], white: Float[np.ndarray, "v"], unit: np.ndarray | None, sparse: SparseDepth | None
) -> list[str]:
    """Names of the views whose masks are the other way round, unlike those of most."""
    usual = float(np.median(white))
    suspects = [index for index, share in enumerate(white) if share > max(MOSTLY_WHITE, usual + UNLIKE_OTHERS)]
    if not suspects or len(small) - len(suspects) < FEWEST_WITNESSES:
        return []
    try:
        if unit is None:
            unit = find_bounds([v for i, v in enumerate(small) if i not in suspects], sparse)[0]
    except SceneError:
        return []
    # A mask that is white all over carves nothing, so that suspects are no witnesses.
    silent = [_all_white(view) if index in suspects else view for index, view in enumerate(small)]
    told = opinions(silent, unit)
    odd = []
    for index in suspects:
        opinion = told[index]
        if opinion is None:
            continue
        as_it_is = _iou(small[index].mask, opinion.silhouette)
        if _clearly(_iou(_inverse(small[index]).mask, opinion.silhouette), as_it_is):
            odd.append(small[index].name)
    return odd


def _likeness(views: Sequence[LoadedView], unit: np.ndarray | None, sparse: SparseDepth | None) -> float:
    """Median IoU of the masks with the silhouettes of the hull of the others; 0 where there is no hull."""
    try:
        told = opinions(views, find_bounds(list(views), sparse)[0] if unit is None else unit)
    except SceneError:
        return 0.0
    values = [0.0 if o is None else _iou(v.mask, o.silhouette) for v, o in zip(views, told, strict=True)]
    return float(np.median(values))


def _iou(mask: Bool[np.ndarray, "h w"] | None, silhouette: Bool[np.ndarray, "h2 w2"]) -> float:
    assert mask is not None
    small = sampled(mask, *silhouette.shape)
    union = int((small | silhouette).sum())
    return float((small & silhouette).sum() / union) if union else 0.0


def _clearly(inverted: float, as_it_is: float) -> bool:
    return inverted > LOOKS_LIKE and inverted > as_it_is + CLEARLY


def _inverse(view: LoadedView) -> LoadedView:
    assert view.mask is not None
    return replace(view, mask=~view.mask)


def _all_white(view: LoadedView) -> LoadedView:
    assert view.mask is not None
    return replace(view, mask=np.ones_like(view.mask))


def _flip(views: Sequence[View], names: Sequence[str] | None) -> tuple[View, ...]:
    """Views with masks of the meaning "white" that are among the names (None: all of them) as "black"."""
    return tuple(
        replace(view, mask_meaning="black")
        if view.mask_path is not None and view.mask_meaning == "white" and (names is None or view.name in names)
        else view
        for view in views
    )


def _unflip(views: Sequence[View], names: Sequence[str]) -> tuple[View, ...]:
    return tuple(replace(view, mask_meaning="white") if view.name in names else view for view in views)


def _odd_notes(names: Sequence[str], what: str) -> tuple[str, ...]:
    if not names:
        return ()
    if len(names) == 1:
        return (f"the mask of {names[0]} is {what}, unlike the others: it is taken the other way round",)
    return (f"{len(names)} masks are {what}, unlike the others: they are taken the other way round ({listed(names)})",)
