"""How good masks are that nobody has drawn: a figure for each, out of three things that can be measured without truth.

* confirmed: the share of the mask within the silhouette of the hull of all other masks;
* complete: the share of that silhouette within the mask, against the usual one of the scene (a hull of others is larger
  than the object in every view, by how much depends on the number of views);
* separation: how surely the colours on both sides of the mask's border are object here and background there.

The figure is their product, and 0 for a mask that is empty or all of the region of interest. It ranks masks and tells
good from bad ones; it is not the IoU with the true mask: a mistake that all masks share (a table, a shadow) does not
show in it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.scenes.hull import sampled
from dvr_cli.scenes.listing import listed
from dvr_cli.scenes.masks.auto.photographs import Photograph
from dvr_cli.scenes.masks.auto.rounds import Made

ALL = 0.98
"""Share of the region of interest from which on a mask says nothing."""
BAND = (1, 5)
"""Pixels from the border between which colours are asked."""
LOW = 0.75
"""Below it a mask is worth a look."""


def mask_qualities(photographs: Sequence[Photograph], made: Sequence[Made]) -> list[float]:
    """The figure of each mask, 0 (useless) to 1."""
    shares = np.array([_confirmed_and_complete(each) for each in made]).reshape(-1, 2)
    usual = max(float(np.median(shares[:, 1])), 1e-6) if len(shares) else 1.0
    return [
        0.0
        if _implausible(photograph, each)
        else float(confirmed * min(1.0, complete / usual) * border_separation(each.mask, each.by_colour))
        for photograph, each, (confirmed, complete) in zip(photographs, made, shares, strict=True)
    ]


def _implausible(photograph: Photograph, made: Made) -> bool:
    share = float(made.mask.sum()) / max(int(photograph.region.sum()), 1)
    return not made.mask.any() or (share > ALL and bool(photograph.region.mean() > 0.5))


def _confirmed_and_complete(made: Made) -> tuple[float, float]:
    """What the others confirm of a mask, and what it has of what they call object; one half where they are silent."""
    if made.opinion is None:
        return 0.5, 0.5
    silhouette = made.opinion.silhouette
    mask = sampled(made.mask, *silhouette.shape)
    both = float((mask & silhouette).sum())
    return both / max(int(mask.sum()), 1), both / max(int(silhouette.sum()), 1)


def border_separation(mask: Bool[np.ndarray, "h w"], by_colour: Float[np.ndarray, "h w"]) -> float:
    """Mean probability by colour of being on the right side, near the border; 0.5 where colours say nothing."""
    from scipy import ndimage

    first, last = BAND
    near = ndimage.binary_dilation(mask, iterations=last) & ~ndimage.binary_erosion(mask, iterations=last)
    near &= ~(ndimage.binary_dilation(mask, iterations=first) & ~ndimage.binary_erosion(mask, iterations=first))
    if not near.any():
        return 0.5
    odds = np.where(mask, by_colour, -by_colour)[near]
    return float((1 / (1 + np.exp(-odds))).mean())


def quality_notes(quality: Mapping[str, float], view_order: Sequence[str]) -> list[str]:
    """What a user should know about the figures."""
    low = sorted((name for name in view_order if quality[name] < LOW), key=lambda name: quality[name])
    if not low:
        return []
    named = listed((f"{name} ({quality[name]:.2f})" for name in low), 5)
    if 2 * len(low) > len(view_order):
        return [
            f"most of the masks made here are poor ({len(low)} of {len(view_order)} below {LOW}: {named}): look at "
            "them before you trust the result, give masks of your own, or run with --no-masks"
        ]
    return [f"{len(low)} of {len(view_order)} masks made here are poor (below {LOW}): {named}; look at them"]
