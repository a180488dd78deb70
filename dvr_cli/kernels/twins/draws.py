"""The slow and obvious twin of `kernels.draws`."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_WORD = 0xFFFFFFFF


def _permuted(state: Int[Tensor, "p"]) -> Int[Tensor, "p"]:
    """One step of the generator; 32-bit words in 64-bit integers."""
    b = (state * 747796405 + 2891336453) & _WORD
    c = (((b >> ((b >> 28) + 4)) ^ b) * 277803737) & _WORD
    return (c >> 22) ^ c


def random_start(seed: int, places: Int[Tensor, "p"]) -> Int[Tensor, "p"]:
    """State of the generator of each place."""
    return _permuted((seed + _permuted(places.long())) & _WORD)


def random_number(state: Int[Tensor, "p"]) -> tuple[Int[Tensor, "p"], Float[Tensor, "p"]]:
    """(next state, number in [0, 1))."""
    state = _permuted(state)
    return state, (state >> 8).float() * (1 / 16777216)


def random_integer(state: Int[Tensor, "p"], least: int, beyond: int) -> tuple[Int[Tensor, "p"], Int[Tensor, "p"]]:
    """(next state, integer from `least` to before `beyond`)."""
    state = _permuted(state)
    return state, state % (beyond - least) + least


def spread(count: int, available: int, seed: int) -> Int[Tensor, "r"]:
    """See `kernels.draws.spread`."""
    items = torch.arange(count)
    _, number = random_number(random_start(seed, items))
    return ((items.double() + number.double()) / count * available).long().clamp(max=available - 1)


def toss(count: int, share: float, seed: int) -> Bool[Tensor, "r"]:
    """See `kernels.draws.toss`."""
    return random_number(random_start(seed, torch.arange(count)))[1] < share


def choose_sources(
    neighbours: Int[Tensor, "v m"],
    ray_views: Int[Tensor, "r"],
    slopes: Float[Tensor, "r"],
    count: int,
    share: float,
    seed: int,
) -> Int[Tensor, "r s"]:
    """See `kernels.draws.choose_sources`."""
    state, number = random_number(random_start(seed, torch.arange(len(ray_views))))
    compared = (number < share) & (slopes < 0)
    group = max(1, neighbours.shape[1] // count)
    chosen = []
    for j in range(count):
        state, pick = random_integer(state, 0, group)
        column = (j * group + pick).clamp(max=neighbours.shape[1] - 1)
        chosen.append(torch.where(compared, neighbours[ray_views.long(), column], -1))
    return torch.stack(chosen, dim=1)
