"""What a step leaves to chance: which pixels it looks at, which views it compares with.

Each item of a launch has random numbers of its own, from a seed and the item's place, so that all threads take part and
nothing depends on their number or on the device. They are those of Warp: a permuted congruential generator (O'Neill,
2014), started from a hash of both.
"""

import torch
import warp as wp
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.kernels.launch import launch

wp.set_module_options({"enable_backward": False})


@wp.kernel
def spread_kernel(first: int, seed: int, available: int, drawn_out: wp.array(dtype=wp.int32)):
    item = first + wp.tid()
    state = wp.rand_init(seed, item)
    # In double precision: there are more pixels than a float can tell apart.
    share = (wp.float64(item) + wp.float64(wp.randf(state))) / wp.float64(drawn_out.shape[0])
    drawn_out[item] = wp.min(int(share * wp.float64(available)), available - 1)


@wp.kernel
def toss_kernel(first: int, seed: int, share: float, heads_out: wp.array(dtype=wp.uint8)):
    item = first + wp.tid()
    state = wp.rand_init(seed, item)
    heads_out[item] = wp.where(wp.randf(state) < share, wp.uint8(1), wp.uint8(0))


@wp.kernel
def sources_kernel(
    first: int,
    seed: int,
    neighbours: wp.array(dtype=wp.int32),
    width: int,
    count: int,
    ray_views: wp.array(dtype=wp.int32),
    slopes: wp.array(dtype=wp.float32),
    share: float,
    sources_out: wp.array(dtype=wp.int32),
):
    ray = first + wp.tid()
    state = wp.rand_init(seed, ray)
    compared = wp.randf(state) < share and slopes[ray] < 0.0
    group = wp.max(width // count, 1)
    for j in range(count):
        column = wp.min(j * group + wp.randi(state, 0, group), width - 1)
        sources_out[ray * count + j] = wp.where(compared, neighbours[ray_views[ray] * width + column], -1)


def spread(count: int, available: int, seed: int, device: torch.device) -> Int[Tensor, "r"]:
    """`count` of `available` items in rising order: one at random from each of `count` equal stretches.

    Each is as likely as any other, and they lie more evenly than if each were drawn for itself. Where more are asked
    for than there are, some come twice. Raises ValueError if there is none.
    """
    if count > 0 and available < 1:
        raise ValueError("There is nothing to draw from.")
    drawn = torch.empty(count, dtype=torch.int32, device=device)
    launch(spread_kernel, count, [seed, available, drawn], device)
    return drawn


def toss(count: int, share: float, seed: int, device: torch.device) -> Bool[Tensor, "r"]:
    """True for about this share, 0 to 1, of so many items."""
    heads = torch.empty(count, dtype=torch.bool, device=device)
    launch(toss_kernel, count, [seed, share, heads.view(torch.uint8)], device)
    return heads


def choose_sources(
    neighbours: Int[Tensor, "v m"],
    ray_views: Int[Tensor, "r"],
    slopes: Float[Tensor, "r"],
    count: int,
    share: float,
    seed: int,
) -> Int[Tensor, "r s"]:
    """`count` source views per ray: one at random from each of `count` groups of a view's sorted neighbours.

    None, -1, for rays that see a surface from behind, whose value rises along them: `slopes` are not negative. And none
    for all but a `share`, 0 to 1, of the others.
    """
    sources = torch.empty(len(ray_views), count, dtype=torch.int32, device=ray_views.device)
    inputs = [seed, neighbours.reshape(-1), neighbours.shape[1], count, ray_views, slopes, share, sources.reshape(-1)]
    launch(sources_kernel, len(ray_views), inputs, ray_views.device)
    return sources
