"""The paper's network in plain NumPy, float64, with its backward pass and its normals by hand; see plain_paper.py.

Points are in the paper's coordinates. F is the occupancy logit, positive inside; the normal is -grad F / |grad F|,
outwards. Weights are a dict of arrays named like the published ones; a matrix W and an offset b mean y = x W^T + b.
"""

import numpy as np

Arrays = dict[str, np.ndarray]


def block_count(weights: Arrays) -> int:
    """Number of ResNet blocks."""
    return sum(name.endswith(".fc_0.weight") for name in weights)


def _linear(weights: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def activations(weights: Arrays, points: np.ndarray, code: np.ndarray | None = None) -> list[np.ndarray]:
    """What the ReLUs are given at points (p, 3): two arrays (p, w) per block, then the one before the last layer."""
    x, before = _linear(weights, "fc_p", points), []
    for i in range(block_count(weights)):
        if code is not None:
            x = x + _linear(weights, f"fc_c.{i}", code)
        before.append(x)
        inner = _linear(weights, f"blocks.{i}.fc_0", np.maximum(x, 0))
        before.append(inner)
        x = x + _linear(weights, f"blocks.{i}.fc_1", np.maximum(inner, 0))
    return [*before, x]


def network(weights: Arrays, points: np.ndarray, code: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Logits (p,) and colours (p, 3) in (0, 1) at points (p, 3)."""
    out = _linear(weights, "fc_out", np.maximum(activations(weights, points, code)[-1], 0))
    return out[:, 0], 1 / (1 + np.exp(-out[:, 1:]))


def _linear_backward(weights: Arrays, name: str, x: np.ndarray, by_y: np.ndarray, gradients: Arrays) -> np.ndarray:
    """The gradient by x (p, in) of a linear layer, given that by its result (p, out); adds those by its weights."""
    gradients[f"{name}.weight"] += by_y.T @ x
    gradients[f"{name}.bias"] += by_y.sum(axis=0)
    return by_y @ weights[f"{name}.weight"]


def network_backward(
    weights: Arrays,
    points: np.ndarray,
    code: np.ndarray | None,
    by_logit: np.ndarray,
    by_colour: np.ndarray,
    gradients: Arrays,
) -> np.ndarray:
    """The gradient by the points (p, 3), given those by logits (p,) and colours (p, 3).

    Adds the gradients by weights and code (named `code`) to `gradients`.
    """
    before = activations(weights, points, code)
    colours = network(weights, points, code)[1]
    by_out = np.concatenate([by_logit[:, None], by_colour * colours * (1 - colours)], axis=1)
    by_x = _linear_backward(weights, "fc_out", np.maximum(before[-1], 0), by_out, gradients) * (before[-1] > 0)
    for i in reversed(range(block_count(weights))):
        x, inner = before[2 * i], before[2 * i + 1]
        by_inner = _linear_backward(weights, f"blocks.{i}.fc_1", np.maximum(inner, 0), by_x, gradients) * (inner > 0)
        by_x = by_x + _linear_backward(weights, f"blocks.{i}.fc_0", np.maximum(x, 0), by_inner, gradients) * (x > 0)
        if code is not None:
            # One code serves all points.
            by_sum = by_x.sum(axis=0, keepdims=True)
            gradients["code"] += _linear_backward(weights, f"fc_c.{i}", code[None], by_sum, gradients)[0]
    return _linear_backward(weights, "fc_p", points, by_x, gradients)


def spatial_gradient(weights: Arrays, point: np.ndarray, code: np.ndarray | None = None) -> np.ndarray:
    """dF/dp (3,) at one point (3,): a product of matrices, with rows struck out where a ReLU is off."""
    masks = [before[0] > 0 for before in activations(weights, point[None], code)]
    x_by_p = weights["fc_p.weight"]
    for i in range(block_count(weights)):
        inner_by_p = weights[f"blocks.{i}.fc_0.weight"] @ (masks[2 * i][:, None] * x_by_p)
        x_by_p = x_by_p + weights[f"blocks.{i}.fc_1.weight"] @ (masks[2 * i + 1][:, None] * inner_by_p)
    return (weights["fc_out.weight"][0] * masks[-1]) @ x_by_p


def spatial_gradient_backward(
    weights: Arrays, point: np.ndarray, code: np.ndarray | None, by_gradient: np.ndarray, gradients: Arrays
) -> None:
    """Adds the gradients by weights, given that by dF/dp (3,). The masks are constant, so offsets and code get none."""
    masks = [before[0] > 0 for before in activations(weights, point[None], code)]
    blocks = block_count(weights)
    x_by_p, kept = weights["fc_p.weight"], []
    for i in range(blocks):
        w_0, w_1 = weights[f"blocks.{i}.fc_0.weight"], weights[f"blocks.{i}.fc_1.weight"]
        shown = masks[2 * i][:, None] * x_by_p
        inner_shown = masks[2 * i + 1][:, None] * (w_0 @ shown)
        kept.append((shown, inner_shown))
        x_by_p = x_by_p + w_1 @ inner_shown
    gradients["fc_out.weight"][0] += masks[-1] * (x_by_p @ by_gradient)
    by_x = np.outer(weights["fc_out.weight"][0] * masks[-1], by_gradient)
    for i in reversed(range(blocks)):
        w_0, w_1 = weights[f"blocks.{i}.fc_0.weight"], weights[f"blocks.{i}.fc_1.weight"]
        shown, inner_shown = kept[i]
        gradients[f"blocks.{i}.fc_1.weight"] += by_x @ inner_shown.T
        by_inner = masks[2 * i + 1][:, None] * (w_1.T @ by_x)
        gradients[f"blocks.{i}.fc_0.weight"] += by_inner @ shown.T
        by_x = by_x + masks[2 * i][:, None] * (w_0.T @ by_inner)
    gradients["fc_p.weight"] += by_x


def normal_at(weights: Arrays, point: np.ndarray, code: np.ndarray | None = None) -> np.ndarray:
    """Outward unit normal (3,)."""
    gradient = spatial_gradient(weights, point, code)
    return -gradient / np.linalg.norm(gradient)


def normal_backward(
    weights: Arrays, point: np.ndarray, code: np.ndarray | None, by_normal: np.ndarray, gradients: Arrays
) -> None:
    """Adds the gradients by weights, given that by the normal. d(g / |g|) = (I - n n^T) dg / |g|."""
    length = np.linalg.norm(spatial_gradient(weights, point, code))
    n = normal_at(weights, point, code)
    spatial_gradient_backward(weights, point, code, -(by_normal - n * (n @ by_normal)) / length, gradients)


def random_weights(rng: np.random.Generator, *, width: int, blocks: int, code_size: int = 0) -> Arrays:
    """Random weights of a network of any size, of usual magnitude in every layer."""
    sizes = {"fc_p": (width, 3), "fc_out": (4, width)}
    for i in range(blocks):
        sizes |= {f"blocks.{i}.fc_0": (width, width), f"blocks.{i}.fc_1": (width, width)}
        sizes |= {f"fc_c.{i}": (width, code_size)} if code_size else {}
    weights = {}
    for name, (rows, columns) in sizes.items():
        bound = 1 / np.sqrt(columns)
        weights[f"{name}.weight"] = rng.uniform(-bound, bound, (rows, columns))
        weights[f"{name}.bias"] = rng.uniform(-bound, bound, rows)
    return weights


def ball_like_weights(
    rng: np.random.Generator, *, width: int, blocks: int, code: np.ndarray | None = None, radius: float = 0.3
) -> Arrays:
    """Weights whose logits are roughly 10 (radius - |p|) in the cube: a lumpy ball, by 400 steps of Adam."""
    weights = random_weights(rng, width=width, blocks=blocks, code_size=0 if code is None else len(code))
    first = {name: np.zeros_like(array) for name, array in weights.items()}
    second = {name: np.zeros_like(array) for name, array in weights.items()}
    for step in range(1, 401):
        points = rng.uniform(-0.55, 0.55, (256, 3))
        gradients = {name: np.zeros_like(array) for name, array in weights.items()} | {"code": 0.0}
        error = network(weights, points, code)[0] - 10 * (radius - np.linalg.norm(points, axis=1))
        network_backward(weights, points, code, error / len(points), np.zeros_like(points), gradients)
        for name in weights:
            first[name] = 0.9 * first[name] + 0.1 * gradients[name]
            second[name] = 0.99 * second[name] + 0.01 * gradients[name] ** 2
            move = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.99**step)) + 1e-8)
            weights[name] = weights[name] - 0.01 * move
    return weights
