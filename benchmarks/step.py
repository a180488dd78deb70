"""How much faster the kernels are than their torch twins, two threads than one, and a GPU than these: in one run.

    python benchmarks/step.py [OUT.json]        default: benchmarks/results/step.json

Each figure is the least of several runs, which the rest of the machine disturbs least; the two sides of a ratio take
turns. Twins and kernels do the same work in float32 (the twin of the march is `grid_sample` over all rays at once).
"""

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
import warp as wp

from dvr_cli.config import FAST
from dvr_cli.fields.grid import GridField
from dvr_cli.fitting.grid_kind import GridKind
from dvr_cli.fitting.initial import mask_pixels, neighbour_views
from dvr_cli.fitting.pixels import pixel_pool
from dvr_cli.fitting.step import STEPS_BETWEEN_BANDS, StepState, accumulate, update
from dvr_cli.kernels import launch
from dvr_cli.kernels.march import march
from dvr_cli.kernels.patches import patch_ncc
from dvr_cli.kernels.twins import grid as grid_twins
from dvr_cli.kernels.twins import patches as patch_twins
from dvr_cli.kernels.views import ViewArrays, stack_views
from dvr_cli.processors import available_threads
from dvr_cli.scenes.synthetic import sphere, synthetic_scene

VOXELS = 192
RADIUS = 0.6
RAYS = 16384
PATCHES = 4096


def best_of(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least seconds of each work over several rounds, after one round that does not count."""
    seconds = {name: float("inf") for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat:
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def ball_grid(voxels: int) -> torch.Tensor:
    """Distances to a sphere, somewhat too great, so that a step has something to do."""
    axis = torch.linspace(-1, 1, voxels)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    return (x.square() + y.square() + z.square()).sqrt() - 1.02 * RADIUS


def ball_views() -> ViewArrays:
    """Twenty photographs of a textured sphere at 320 pixels."""
    scene, loaded, _ = synthetic_scene(sphere(RADIUS), views=20, image_size=320)
    return stack_views(loaded, scene.unit_from_world, 1, torch.device("cpu"))


def object_rays(stack: ViewArrays, count: int) -> tuple[torch.Tensor, ...]:
    """(views, pixels, origins, directions) of random object pixels."""
    views, pixels = mask_pixels(stack, 2)
    chosen = torch.randint(len(views), (count,), generator=torch.Generator().manual_seed(0))
    return views[chosen], pixels[chosen], *stack.rays(views[chosen], pixels[chosen])


def march_seconds(stack: ViewArrays) -> dict[str, float]:
    """Kernel and twin on the same rays, one thread each."""
    sdf = ball_grid(VOXELS)
    _, _, origins, directions = object_rays(stack, RAYS)
    works = {
        "kernel": lambda: march(sdf, origins, directions),
        "twin": lambda: grid_twins.march(sdf, origins, directions),
    }
    return best_of(works, 5)


def patch_seconds(stack: ViewArrays) -> dict[str, float]:
    """7 x 7 patches against four sources: loss, slope and curvature, one thread each."""
    views, pixels, origins, directions = object_rays(stack, PATCHES)
    t, hit, *_ = march(ball_grid(VOXELS), origins, directions)
    views, pixels, origins, directions, t = (
        array[hit].contiguous() for array in (views, pixels, origins, directions, t)
    )
    normals = torch.nn.functional.normalize(origins + t[:, None] * directions, dim=1)
    sources = neighbour_views(stack, 4)[views.long()].contiguous()
    arguments = (stack, views, pixels, directions, t, normals, torch.zeros(len(t), 2), sources)
    options = {"keep": 2, "radius": 3, "noise": 0.01}
    works = {
        "kernel": lambda: patch_ncc(*arguments, **options),
        "twin": lambda: patch_twins.patch_ncc(*arguments, **options),
    }
    return best_of(works, 3)


def taking_steps(stack: ViewArrays, threads: int) -> tuple[Callable[[], None], int]:
    """(some steps of the fit with the last level's settings, where the photographs are; their number)."""
    settings, level = FAST, FAST.levels[-1]
    pool, neighbours = pixel_pool(stack, 8), neighbour_views(stack, settings.photometric.neighbours)
    field = GridField(ball_grid(level.voxels).to(stack.gray.device))
    state = StepState.at_start(field, settings)
    generator = torch.Generator().manual_seed(0)
    # After so many steps smoothing and the search for the band come round again.
    cycle = math.lcm(settings.optimiser.band_every, STEPS_BETWEEN_BANDS)

    def steps() -> None:
        launch.set_threads(threads)
        torch.set_num_threads(GridKind.torch_threads or threads)
        for step in range(cycle):
            accumulate(field, state, stack, pool, neighbours, settings, level, generator)
            update(field, state, settings, 0.5, step)

    return steps, cycle


def step_seconds(stack: ViewArrays, threads: tuple[int, ...]) -> dict[str, float]:
    """A step for each number of threads, and on the GPU where there is one."""
    works = {str(count): taking_steps(stack, count) for count in threads}
    if torch.cuda.is_available():
        works["cuda"] = taking_steps(stack.to(torch.device("cuda", 0)), 1)
    seconds = best_of({name: steps for name, (steps, _) in works.items()}, 5)
    return {name: value / works[name][1] for name, value in seconds.items()}


def machine() -> dict[str, object]:
    """What the figures depend on besides the code."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "processor": model,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "cores": available_threads(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "warp": wp.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def measure() -> dict[str, object]:
    """All figures, seconds and their ratios."""
    result: dict[str, object] = {"machine": machine()}
    stack = ball_views()
    launch.set_threads(1)
    torch.set_num_threads(1)
    marched, patched = march_seconds(stack), patch_seconds(stack)
    cores = available_threads()
    stepped = step_seconds(stack, (1, 2) if cores > 1 else (1,))
    result["march"] = {"rays": RAYS, "voxels": VOXELS, **marched, "ratio": marched["twin"] / marched["kernel"]}
    result["patches"] = {"patches": PATCHES, **patched, "ratio": patched["twin"] / patched["kernel"]}
    result["step"] = {"rays": FAST.rays_per_step, "seconds": stepped}
    for other, name in (("2", "ratio"), ("cuda", "cuda_ratio")):
        if other in stepped:
            result["step"][name] = stepped["1"] / stepped[other]  # type: ignore[index]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path(__file__).parent / "results" / "step.json")
    out = parser.parse_args().out
    result = measure()
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(".part")
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    temporary.replace(out)
    for name in ("march", "patches", "step"):
        print(name, json.dumps(result[name]))
    print(f"Written: {out}")


if __name__ == "__main__":
    main()
