"""How good masks are that nobody has drawn: a figure for each, out of three things that can be measured without truth.

* agreement: IoU of the mask with the silhouette of the hull of all other masks, at the hull's resolution;
* separation: how surely the colours on both sides of the mask's border are object here and background there;
* plausibility: a mask that is empty, or all of the region of interest, is none.

The figure is their product. It ranks masks and tells good from bad ones; it is not the IoU with the true mask, which
a mistake that all masks share (a table, a shadow) does not show in it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.scenes.hull import sampled
from dvr_cli.scenes.masks.auto.photographs import Photograph
from dvr_cli.scenes.masks.auto.rounds import Made

BAND = (1, 5)
"""Pixels from the border between which colours are asked."""
LOW = 0.6
"""Below it a mask is worth a look."""
FEWEST_TO_JUDGE = 3
"""Views without which nothing is a hull."""


def mask_quality(photograph: Photograph, made: Made) -> float:
    """The figure of one mask, 0 (useless) to 1."""
    mask = made.mask
    share = float(mask.sum()) / max(int(photograph.region.sum()), 1)
    if not mask.any() or (share > 0.98 and photograph.region.mean() > 0.5):
        return 0.0
    agreement = 0.5
    if made.opinion is not None:
        small = sampled(mask, *made.opinion.silhouette.shape)
        union = (small | made.opinion.silhouette).sum()
        agreement = float((small & made.opinion.silhouette).sum() / max(union, 1))
    return agreement * border_separation(mask, made.by_colour)


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
    named = ", ".join(f"{name} ({quality[name]:.2f})" for name in low[:5]) + (", ..." if len(low) > 5 else "")
    if 2 * len(low) > len(view_order):
        return [
            f"most of the masks made here are poor ({len(low)} of {len(view_order)} below {LOW}: {named}): look at "
            "them before you trust the result, give masks of your own, or run with --no-masks"
        ]
    return [f"{len(low)} of {len(view_order)} masks made here are poor (below {LOW}): {named}; look at them"]
