"""Masks by turns: colours and points say what each pixel is, the masks make a hull, and the hull corrects the masks.

The evidence for a pixel is the logarithm of how much likelier it is object than background: by its colour (models of
both are learnt from the masks of the round before, background models of each photograph and of all together), by sparse
points near it, and by the hull of the other views. `cutting.cut` makes a mask of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.scenes.hull import sampled
from dvr_cli.scenes.masks.auto.agreement import Opinion, opinions
from dvr_cli.scenes.masks.auto.background import FITS, SolidBackground
from dvr_cli.scenes.masks.auto.colours import ColourModel, colour_model, counted
from dvr_cli.scenes.masks.auto.cutting import cut
from dvr_cli.scenes.masks.auto.photographs import Photograph, in_parallel

MOST_BY_COLOUR = 4.0
"""Bound of the log odds that a colour gives: no colour is proof."""
OUTSIDE = 3.0
"""Log odds against a pixel outside the hull of the other views."""
NEVER = 20.0
"""Against a pixel whose ray misses the region of interest."""
RARE = 0.05
"""Share of a background of one colour from which on other colours in it count in full: below, they may be mistakes."""
OWN_SHARE = 0.5
"""Of a photograph's own background in the model of its background; the rest is that of all photographs."""


@dataclass(frozen=True)
class Evidence:
    """What is known about the pixels of one photograph before any mask."""

    solid: SolidBackground | None
    hints: Float[np.ndarray, "h w"] | None
    """Log odds for object by other things than colour, such as sparse points."""


@dataclass(frozen=True)
class Made:
    """The mask of one photograph."""

    soft: Float[np.ndarray, "h w"]
    """In [0, 1], nearly everywhere one of the two."""
    by_colour: Float[np.ndarray, "h w"]
    """Log odds for object by colour alone, of the last round."""
    opinion: Opinion | None
    """Of the other views, about this mask."""

    @property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """True = object."""
        return self.soft > 0.5


def refined(
    photographs: Sequence[Photograph],
    evidence: Sequence[Evidence],
    first: Sequence[Bool[np.ndarray, "h w"]],
    unit_from_world: Float[np.ndarray, "4 4"],
    inside: Sequence[float],
    threads: int | None,
    step_done: Callable[[], None],
    should_stop: Callable[[], bool] | None,
) -> list[Made]:
    """Masks from first guesses, a round for each entry of `inside`; `step_done` is called after each.

    `inside`: log odds of a pixel whose ray runs through as much of the hull of the other views as most do. While masks
    may all be too large their hull must not hold them there: 0 then.
    """
    masks = list(first)
    made: list[Made] = []
    unlike = in_parallel(_unlike, list(zip(photographs, evidence, strict=True)), threads)
    for weight in inside:
        told = opinions([p.as_view(m) for p, m in zip(photographs, masks, strict=True)], unit_from_world)
        made = _one_round(photographs, evidence, masks, unlike, told, weight, threads, should_stop)
        masks = [each.mask for each in made]
        step_done()
    told = opinions([p.as_view(m) for p, m in zip(photographs, masks, strict=True)], unit_from_world)
    return [Made(each.soft, each.by_colour, opinion) for each, opinion in zip(made, told, strict=True)]


def _one_round(
    photographs: Sequence[Photograph],
    evidence: Sequence[Evidence],
    masks: Sequence[Bool[np.ndarray, "h w"]],
    unlike: Sequence[Bool[np.ndarray, "h w"]],
    told: Sequence[Opinion | None],
    inside: float,
    threads: int | None,
    should_stop: Callable[[], bool] | None,
) -> list[Made]:
    object_model, all_counts = _learnt(photographs, masks, unlike)

    def one(index: int) -> Made:
        photograph = photographs[index]
        own_counts = counted(photograph.bins[unlike[index] & ~masks[index]])
        rarity = own_counts.sum() / max(RARE * float((~masks[index]).sum()), 1)
        by_colour = _log_odds(photograph, evidence[index].solid, object_model, own_counts, all_counts, min(1, rarity))
        odds = by_colour + _by_others(told[index], by_colour.shape, inside)
        if (hints := evidence[index].hints) is not None:
            odds = odds + hints
        odds[~photograph.region] = -NEVER
        return Made(cut(odds, photograph.border_cost), by_colour, told[index])

    return in_parallel(one, range(len(photographs)), threads, should_stop)


def _unlike(known: tuple[Photograph, Evidence]) -> Bool[np.ndarray, "h w"]:
    """Pixels that the solid background does not explain: what is background among them has colours of its own."""
    photograph, evidence = known
    if evidence.solid is None:
        return np.ones(photograph.image.shape[:2], bool)
    return evidence.solid.distance(photograph.image) > FITS


def _learnt(
    photographs: Sequence[Photograph],
    masks: Sequence[Bool[np.ndarray, "h w"]],
    unlike: Sequence[Bool[np.ndarray, "h w"]],
) -> tuple[ColourModel, Float[np.ndarray, "bins3"]]:
    """The colours of the object, and how often each is background, in all photographs."""
    object_counts = sum(counted(p.bins[mask]) for p, mask in zip(photographs, masks, strict=True))
    background_counts = sum(counted(p.bins[u & ~mask]) for p, mask, u in zip(photographs, masks, unlike, strict=True))
    return colour_model(np.asarray(object_counts)), np.asarray(background_counts)


def _log_odds(
    photograph: Photograph,
    solid: SolidBackground | None,
    object_model: ColourModel,
    own_counts: Float[np.ndarray, "bins3"],
    all_counts: Float[np.ndarray, "bins3"],
    rarity: float,
) -> Float[np.ndarray, "h w"]:
    own, everywhere = colour_model(own_counts), colour_model(all_counts)
    background = OWN_SHARE * own.density_of(photograph.bins) + (1 - OWN_SHARE) * everywhere.density_of(photograph.bins)
    if solid is not None:
        # Not by their shares: a rare colour of the background is not a likely colour of the object.
        background = 0.5 * (solid.density(photograph.image) + rarity * background)
    odds = np.log(object_model.density_of(photograph.bins)) - np.log(np.maximum(background, 1e-6))
    return np.clip(odds, -MOST_BY_COLOUR, MOST_BY_COLOUR).astype(np.float32)


def _by_others(opinion: Opinion | None, shape: tuple[int, int], inside: float) -> Float[np.ndarray, "h w"]:
    if opinion is None:
        return np.zeros(shape, np.float32)
    odds = inside * np.minimum(opinion.thickness, 1).astype(np.float32) - OUTSIDE * opinion.outside.astype(np.float32)
    return sampled(odds, *shape)
