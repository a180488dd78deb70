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
INSIDE = 1.5
"""Log odds of a pixel whose ray runs through as much of the hull of the other views as most do."""
OUTSIDE = 3.0
"""And against one outside of it."""
NEVER = 20.0
"""Against a pixel whose ray misses the region of interest."""
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
    rounds: int,
    threads: int | None,
    step_done: Callable[[], None],
    should_stop: Callable[[], bool] | None,
) -> list[Made]:
    """Masks after so many rounds, from first guesses; `step_done` is called after each."""
    masks = list(first)
    made: list[Made] = []
    unlike = in_parallel(_unlike, list(zip(photographs, evidence, strict=True)), threads)
    for _ in range(rounds):
        told = opinions([p.as_view(m) for p, m in zip(photographs, masks, strict=True)], unit_from_world)
        made = _one_round(photographs, evidence, masks, unlike, told, threads, should_stop)
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
    threads: int | None,
    should_stop: Callable[[], bool] | None,
) -> list[Made]:
    object_model, all_counts = _learnt(photographs, masks, unlike)

    def one(index: int) -> Made:
        photograph = photographs[index]
        own_counts = counted(photograph.bins[unlike[index] & ~masks[index]])
        by_colour = _log_odds(photograph, evidence[index].solid, object_model, own_counts, all_counts)
        odds = by_colour + _by_others(told[index], by_colour.shape)
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
) -> Float[np.ndarray, "h w"]:
    own, everywhere = colour_model(own_counts), colour_model(all_counts)
    background = OWN_SHARE * own.density_of(photograph.bins) + (1 - OWN_SHARE) * everywhere.density_of(photograph.bins)
    if solid is not None:
        # Not by their shares: a rare colour of the background is not a likely colour of the object.
        background = 0.5 * (solid.density(photograph.image) + background)
    odds = np.log(object_model.density_of(photograph.bins)) - np.log(np.maximum(background, 1e-6))
    return np.clip(odds, -MOST_BY_COLOUR, MOST_BY_COLOUR).astype(np.float32)


def _by_others(opinion: Opinion | None, shape: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    if opinion is None:
        return np.zeros(shape, np.float32)
    odds = INSIDE * np.minimum(opinion.thickness, 1).astype(np.float32) - OUTSIDE * opinion.outside.astype(np.float32)
    return sampled(odds, *shape)
