"""Photographs of several sizes whose cameras were all made for one of them: some were resized, their cameras were not.

Camera files such as cameras.npz hold no image size, so a photograph that was resized is read with a camera for another
size, and no reader can tell that from a rig of different cameras. Masks can: they agree with the cameras once those of
the resized photographs are carried over to their size. Without masks, the principal points have to do.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float

from dvr_cli.diagnosis.agreement import AGREES, covered_by_hull, in_better_region
from dvr_cli.diagnosis.corrections import size_factor
from dvr_cli.diagnosis.findings import Finding, Severity
from dvr_cli.scenes.image_files import same_aspect
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.views import LoadedView, Scene

Size = tuple[int, int]
"""Width and height, pixels."""

CLEARLY_BETTER = 0.1
"""That the worst-covered size of masks must win when cameras are carried over."""
MOST_SIZES = 4
"""The most frequent ones: they are tried as the size that all cameras were made for, and named."""
SAME_FACTOR = 1.1
"""Largest ratio of the factor that principal points show to that of the sizes."""
HARMLESS, HARMLESS_SHARE = 3, 0.1
"""So many wrong views, and this share of all, do not keep a reconstruction from working (as in `scenes.bounds`)."""


def mixed_size_findings(scene: Scene, views: Sequence[LoadedView]) -> list[Finding]:
    """Views whose cameras belong to the size of the other photographs, as masks tell it; at most one finding.

    `views` are those with masks, at whatever size. Where masks do not tell, principal points have to do.
    """
    sizes = _sizes(scene)
    if len(set(sizes.values())) < 2:
        return []
    before = _least_covered(views, sizes, scene.unit_from_world)
    if before >= AGREES:
        return []
    best, found = 0.0, None
    for size in _candidates(sizes):
        resized = _resized(sizes, size)
        others = set(resized)
        mended = [_carried_over(view, sizes[view.name], size) if view.name in others else view for view in views]
        after = in_better_region(partial(_least_covered, mended, sizes), mended, scene.unit_from_world)
        if after > best:
            best, found = after, (size, resized)
    if found is None or best < max(AGREES, before + CLEARLY_BETTER):
        return mixed_sizes_without_masks(scene)
    size, resized = found
    reason = (
        f"taken so, masks and cameras agree (the hull then covers {best:.0%} of the masks of each size, now "
        f"{before:.0%} of those of one)"
    )
    harmless = len(resized) <= min(HARMLESS, HARMLESS_SHARE * len(sizes))
    return [_finding(sizes, size, resized, reason, "warning" if harmless else "fatal")]


def mixed_sizes_without_masks(scene: Scene) -> list[Finding]:
    """The same by principal points, which then lie in the middle of images of another size; a warning."""
    sizes = _sizes(scene)
    if len(set(sizes.values())) < 2:
        return []
    factors = {
        size: size_factor([view.camera for view in scene.views if sizes[view.name] == size])
        for size in set(sizes.values())
    }
    for size in _candidates(sizes):
        resized = [] if factors[size] is not None else _resized(sizes, size)
        resized = [name for name in resized if _shows(factors[sizes[name]], sizes[name], size)]
        if resized:
            reason = "their principal points lie in the middle of images of that size"
            return [_finding(sizes, size, resized, reason, "warning")]
    return []


def _finding(sizes: dict[str, Size], size: Size, resized: list[str], reason: str, severity: Severity) -> Finding:
    (first, most), *rest = Counter(sizes.values()).most_common()
    counted = f"{count_of(most, 'photograph is', 'photographs are')} {_text(first)}"
    counted += "".join(f", {count_of(count, 'is', 'are')} {_text(one)}" for one, count in rest[:MOST_SIZES])
    counted += f", and there are {len(rest) - MOST_SIZES} sizes more" if len(rest) > MOST_SIZES else ""
    text = (
        f"{counted}, but all cameras seem to be made for {_text(size)}: {reason}. The cameras of these belong to "
        f"another size than their photographs: {listed(resized)}"
    )
    factors = {sizes[name][0] / size[0] for name in resized}
    factor = f"{factors.pop():.4g}" if len(factors) == 1 else f"their width over {size[0]}"
    advice = (
        f"Use these photographs at {_text(size)}, or multiply the first two rows of their intrinsics by {factor}; or "
        "leave them out with --views"
    )
    return Finding("intrinsics-size", severity, text, advice, tuple(resized))


def _sizes(scene: Scene) -> dict[str, Size]:
    return {view.name: (view.camera.width, view.camera.height) for view in scene.views}


def _candidates(sizes: dict[str, Size]) -> list[Size]:
    """Sizes that all cameras may have been made for, the most frequent first."""
    return [size for size, _ in Counter(sizes.values()).most_common(MOST_SIZES)]


def _resized(sizes: dict[str, Size], size: Size) -> list[str]:
    """Views of another size but of the same shape: those of another shape are no resized ones."""
    return [name for name, own in sizes.items() if own != size and same_aspect(own[1], own[0], size[1], size[0])]


def _carried_over(view: LoadedView, own: Size, size: Size) -> LoadedView:
    """The view with a camera that was made for `size` instead of for its own."""
    scale = np.diag([own[0] / size[0], own[1] / size[1], 1.0])
    # In pixels of the view as it is loaded, smaller or not, the factors are the same.
    return replace(view, camera=replace(view.camera, intrinsics=scale @ view.camera.intrinsics))


def _least_covered(
    views: Sequence[LoadedView], sizes: dict[str, Size], unit_from_world: Float[np.ndarray, "4 4"]
) -> float:
    """Share of each mask that the hull of all covers, median of each size, of the worst size."""
    shares = covered_by_hull(views, unit_from_world)
    by_size: dict[Size, list[float]] = {}
    for name, share in shares.items():
        by_size.setdefault(sizes[name], []).append(share)
    return min((float(np.median(values)) for values in by_size.values()), default=0.0)


def _shows(factor: float | None, own: Size, size: Size) -> bool:
    """Whether principal points that are off by `factor` are those of images of `size`."""
    return factor is not None and 1 / SAME_FACTOR < factor * own[0] / size[0] < SAME_FACTOR


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
