"""One training step of the paper in plain NumPy, float64: forward and backward by hand, ray by ray; slow and obvious.

Written from the equations of Niemeyer et al. (CVPR 2020) and uses nothing of the package, so that the package can be
compared with it. Everything is in the paper's coordinates: the object lies in the cube [-1/2, 1/2]^3, directions have
unit length, distances are measured along them. F is the occupancy logit, positive inside; d the distance of a hit. The
network itself is in plain_network.py.
"""

from dataclasses import dataclass, field

import numpy as np
from plain_network import Arrays, network, network_backward, normal_at, normal_backward, spatial_gradient

PADDED, UNPADDED = 0.55, 0.5
"""Half widths of the cubes in which rays are marched, and in which points to be occupied are drawn."""
SECANT_STEPS = 8
LEAST_SLOPE = 0.1
"""Least |dF/dd| that a depth's gradient is divided by, where lengths are measured in a cube of side 2: there they are
twice the paper's, so this bounds dF/dd at 0.2 in the paper's coordinates."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses, all of which are sums over pixels."""

    rgb: float = 1.0
    image_gradient: float = 1.0
    depth: float = 1.0
    sparse_depth: float = 1.0
    free_space: float = 1.0
    occupancy: float = 1.0
    normal: float = 0.1


@dataclass(frozen=True)
class Batch:
    """The pixels of one step, n of them, and k keypoints. Random quantities are given, not drawn."""

    origins: np.ndarray
    """(n, 3)"""
    directions: np.ndarray
    """(n, 3), of unit length."""
    photograph: np.ndarray
    """(n, 3) colours in [0, 1]."""
    mask: np.ndarray
    """(n,) True on the object."""
    known_depth: np.ndarray
    """(n,) distance along the ray, inf where it is unknown."""
    shares: np.ndarray
    """(n,) in [0, 1]: where in its cube interval a point is taken for free space or occupancy, 0 at the entry."""
    normal_offsets: np.ndarray
    """(n, 3) from a hit to the neighbour that its normal is compared with."""
    patches: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), int))
    """(m, 4) pixels of 2x2 patches: upper left, upper right, lower left, lower right."""
    keypoint_origins: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    """(k, 3)"""
    keypoint_directions: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    """(k, 3), of unit length."""
    keypoints: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    """(k, 3)"""


@dataclass(frozen=True)
class Detached:
    """The points that the paper takes as given, although they depend on hits; NaN where there is none."""

    normal: np.ndarray
    """(n, 3) hits whose normal is compared with a neighbour's."""
    free_space: np.ndarray
    """(n, 3)"""
    occupancy: np.ndarray
    """(n, 3)"""


# --- Rays ---------------------------------------------------------------------------------------------------------


def cube_interval(origin: np.ndarray, direction: np.ndarray, half_width: float) -> tuple[float, float] | None:
    """Where a ray is in the cube, in front of its origin; None if it never is."""
    near, far = 0.0, np.inf
    for axis in range(3):
        if direction[axis] == 0:
            if abs(origin[axis]) > half_width:
                return None
            continue
        walls = sorted((side * half_width - origin[axis]) / direction[axis] for side in (-1, 1))
        near, far = max(near, walls[0]), min(far, walls[1])
    return (near, far) if near < far else None


@dataclass(frozen=True)
class Crossing:
    """What marching finds on one ray."""

    depth: float | None
    """Distance of the first change from outside to inside; None if there is none."""
    starts_inside: bool


def march(
    weights: Arrays,
    origin: np.ndarray,
    direction: np.ndarray,
    steps: int,
    code: np.ndarray | None = None,
    secant_steps: int = SECANT_STEPS,
) -> Crossing:
    """The first change from outside to inside among equal steps in the padded cube, refined by the secant method.

    A ray that starts inside has none, whatever comes behind: what it shows first is not a surface seen from outside.
    """
    interval = cube_interval(origin, direction, PADDED)
    if interval is None:
        return Crossing(None, False)

    def logits_at(distances: np.ndarray) -> np.ndarray:
        return network(weights, origin + distances[:, None] * direction, code)[0]

    distances = np.linspace(*interval, steps)
    logits = logits_at(distances)
    if logits[0] > 0:
        return Crossing(None, True)
    for i in range(steps - 1):
        if logits[i] <= 0 < logits[i + 1]:
            low, high, low_logit, high_logit = distances[i], distances[i + 1], logits[i], logits[i + 1]
            for _ in range(secant_steps):
                middle = low - low_logit * (high - low) / (high_logit - low_logit)
                logit = logits_at(np.array([middle]))[0]
                if logit <= 0:
                    low, low_logit = middle, logit
                else:
                    high, high_logit = middle, logit
            return Crossing(low - low_logit * (high - low) / (high_logit - low_logit), False)
    return Crossing(None, False)


def slope_along(weights: Arrays, point: np.ndarray, direction: np.ndarray, code: np.ndarray | None = None) -> float:
    """dF/dd = grad F . w; positive where a ray enters the solid."""
    return float(spatial_gradient(weights, point, code) @ direction)


def depth_backward(
    weights: Arrays,
    point: np.ndarray,
    direction: np.ndarray,
    code: np.ndarray | None,
    by_depth: float,
    gradients: Arrays,
    least_slope: float = LEAST_SLOPE,
) -> None:
    """Adds dL/dd times dd/dtheta = -(dF/dtheta) / (grad F . w) (equation 5), the denominator bounded, its sign kept."""
    slope = slope_along(weights, point, direction, code)
    bounded = np.copysign(max(abs(slope), 2 * least_slope), slope)
    network_backward(weights, point[None], code, np.array([-by_depth / bounded]), np.zeros((1, 3)), gradients)


# --- The step -----------------------------------------------------------------------------------------------------


def _length_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
    """|v| and d|v|/dv; zero at v = 0."""
    length = float(np.linalg.norm(vector))
    return length, vector / length if length > 0 else np.zeros_like(vector)


def detached_points(batch: Batch, crossings: list[Crossing], *, normals_outside_mask: bool = True) -> Detached:
    """The points of the losses that do not move the depth."""
    n = len(batch.origins)
    points = Detached(*(np.full((n, 3), np.nan) for _ in range(3)))
    for ray, (o, w, crossing) in enumerate(zip(batch.origins, batch.directions, crossings, strict=True)):
        hit = crossing.depth is not None
        if hit and (batch.mask[ray] or normals_outside_mask):
            points.normal[ray] = o + crossing.depth * w
        if not batch.mask[ray]:
            interval = cube_interval(o, w, PADDED)
            if hit:
                points.free_space[ray] = o + crossing.depth * w
            elif interval is not None:
                points.free_space[ray] = o + (interval[0] + batch.shares[ray] * (interval[1] - interval[0])) * w
        elif not hit and not crossing.starts_inside:
            interval = cube_interval(o, w, UNPADDED)
            if np.isfinite(batch.known_depth[ray]):
                points.occupancy[ray] = o + batch.known_depth[ray] * w
            elif interval is not None:
                points.occupancy[ray] = o + (interval[0] + batch.shares[ray] * (interval[1] - interval[0])) * w
    return points


def training_step(
    weights: Arrays,
    batch: Batch,
    steps: int,
    code: np.ndarray | None = None,
    *,
    loss_weights: LossWeights | None = None,
    least_slope: float = LEAST_SLOPE,
    normals_outside_mask: bool = True,
    secant_steps: int = SECANT_STEPS,
    detached: Detached | None = None,
) -> tuple[dict[str, float], Arrays]:
    """Each loss before its weight, and `total`; the gradients of the total by all weights, and by the code as `code`.

    `detached` takes the place of the points that the step finds itself: with those of a step before, the total is a
    function whose derivative the gradients are.
    """
    scale = loss_weights or LossWeights()
    losses = dict.fromkeys(vars(scale), 0.0)
    gradients = {name: np.zeros_like(array) for name, array in weights.items()}
    if code is not None:
        gradients["code"] = np.zeros_like(code)
    crossings = [
        march(weights, o, w, steps, code, secant_steps) for o, w in zip(batch.origins, batch.directions, strict=True)
    ]
    detached = detached or detached_points(batch, crossings, normals_outside_mask=normals_outside_mask)
    _rendered_losses(weights, code, batch, crossings, scale, least_slope, losses, gradients)
    _sparse_depth_loss(weights, code, batch, steps, secant_steps, scale, least_slope, losses, gradients)
    _normal_loss(weights, code, batch, detached, scale, losses, gradients)
    _occupancy_losses(weights, code, detached, scale, losses, gradients)
    losses["total"] = sum(getattr(scale, name) * loss for name, loss in losses.items())
    return losses, gradients


def _rendered_losses(weights, code, batch, crossings, scale, least_slope, losses, gradients) -> None:
    """RGB, image gradient and depth, on pixels that are hit and in the mask."""
    n = len(batch.origins)
    valid = [crossings[ray].depth is not None and batch.mask[ray] for ray in range(n)]
    points, rendered = np.zeros((n, 3)), np.zeros((n, 3))
    by_colour, by_depth = np.zeros((n, 3)), np.zeros(n)
    for ray in range(n):
        if valid[ray]:
            points[ray] = batch.origins[ray] + crossings[ray].depth * batch.directions[ray]
            rendered[ray] = network(weights, points[ray : ray + 1], code)[1][0]
            losses["rgb"] += float(np.abs(rendered[ray] - batch.photograph[ray]).sum())
            by_colour[ray] += scale.rgb * np.sign(rendered[ray] - batch.photograph[ray])
    for patch in batch.patches:
        if all(valid[pixel] for pixel in patch):
            upper_left, upper_right, lower_left, _ = patch
            error = rendered - batch.photograph
            for channel in range(3):
                d_x = error[upper_right, channel] - error[upper_left, channel]
                d_y = error[lower_left, channel] - error[upper_left, channel]
                length, (by_x, by_y) = _length_and_gradient(np.array([d_x, d_y]))
                losses["image_gradient"] += length
                by_colour[upper_right, channel] += scale.image_gradient * by_x
                by_colour[lower_left, channel] += scale.image_gradient * by_y
                by_colour[upper_left, channel] -= scale.image_gradient * (by_x + by_y)
    for ray in range(n):
        if not valid[ray]:
            continue
        w = batch.directions[ray]
        if np.isfinite(batch.known_depth[ray]):
            known = batch.origins[ray] + batch.known_depth[ray] * w
            length, by_point = _length_and_gradient(points[ray] - known)
            losses["depth"] += length
            by_depth[ray] += scale.depth * (by_point @ w)
        one = slice(ray, ray + 1)
        # The colour depends on the weights, and on the point, which the depth moves along the ray.
        by_point = network_backward(weights, points[one], code, np.zeros(1), by_colour[one], gradients)[0]
        by_depth[ray] += by_point @ w
        depth_backward(weights, points[ray], w, code, by_depth[ray], gradients, least_slope)


def _sparse_depth_loss(weights, code, batch, steps, secant_steps, scale, least_slope, losses, gradients) -> None:
    """Distance from each keypoint to the hit of the ray through its pixel."""
    for o, w, keypoint in zip(batch.keypoint_origins, batch.keypoint_directions, batch.keypoints, strict=True):
        crossing = march(weights, o, w, steps, code, secant_steps)
        if crossing.depth is not None:
            point = o + crossing.depth * w
            length, by_point = _length_and_gradient(point - keypoint)
            losses["sparse_depth"] += length
            by_depth = scale.sparse_depth * (by_point @ w)
            depth_backward(weights, point, w, code, by_depth, gradients, least_slope)


def _normal_loss(weights, code, batch, detached, scale, losses, gradients) -> None:
    """|n(p) - n(q)| with q near p."""
    for p, offset in zip(detached.normal, batch.normal_offsets, strict=True):
        if np.isfinite(p).all():
            difference = normal_at(weights, p, code) - normal_at(weights, p + offset, code)
            length, by_difference = _length_and_gradient(difference)
            losses["normal"] += length
            normal_backward(weights, p, code, scale.normal * by_difference, gradients)
            normal_backward(weights, p + offset, code, -scale.normal * by_difference, gradients)


def _occupancy_losses(weights, code, detached, scale, losses, gradients) -> None:
    """Binary cross entropy with 0 for free space, with 1 for what must be occupied."""
    # BCE(F, 0) = log(1 + e^F) and BCE(F, 1) = log(1 + e^-F); both have the derivative sigmoid(F) - target.
    for name, target, points in (("free_space", 0, detached.free_space), ("occupancy", 1, detached.occupancy)):
        for p in points:
            if np.isfinite(p).all():
                logit = network(weights, p[None], code)[0]
                losses[name] += float(np.logaddexp(0, -logit[0] if target else logit[0]))
                by_logit = getattr(scale, name) * (1 / (1 + np.exp(-logit)) - target)
                network_backward(weights, p[None], code, by_logit, np.zeros((1, 3)), gradients)
