"""The photographs as mask making works on them: small, 8 bits, with what does not change from round to round."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dvr_cli.processors import available_threads
from dvr_cli.scenes.cameras import similarity_scale
from dvr_cli.scenes.images import load_view
from dvr_cli.scenes.masks.auto.colours import colour_bins
from dvr_cli.scenes.masks.auto.cutting import edge_costs
from dvr_cli.scenes.views import Camera, LoadedView, Scene, View

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Photograph:
    """One photograph at the size at which its mask is made."""

    name: str
    camera: Camera
    image: UInt8[np.ndarray, "h w 3"]
    bins: Int[np.ndarray, "h w"]
    """Number of the colour bin of each pixel."""
    border_cost: Float[np.ndarray, "h w"]
    """See `cutting.edge_costs`."""
    region: Bool[np.ndarray, "h w"]
    """Pixels whose rays meet the region of interest."""

    def halved(self) -> "Photograph":
        """The same at half the size, by the average of two by two pixels (an odd row or column is left out)."""
        height, width = (side // 2 for side in self.region.shape)
        blocks = self.image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
        values = blocks.astype(np.float32).mean(axis=(1, 3)) / 255
        # The camera of the part that was kept, at half its size.
        cropped = replace(self.camera, height=2 * height, width=2 * width)
        region = self.region[: 2 * height : 2, : 2 * width : 2]
        return _photograph(self.name, cropped.resized(height, width), values, region)

    def as_view(self, mask: Bool[np.ndarray, "h w"]) -> LoadedView:
        """With a mask, for questions that silhouettes answer; the photograph is left out."""
        black = np.broadcast_to(np.float32(0), (*mask.shape, 3))
        return LoadedView(self.name, self.camera, black, mask)


def load_photographs(scene: Scene, longest: int, threads: int | None) -> list[Photograph]:
    """All photographs with the longest side at most `longest` pixels, in the scene's order."""

    def load(view: View) -> Photograph:
        loaded = load_view(replace(view, mask_path=None), longest)
        return _photograph(view.name, loaded.camera, loaded.image, sees_ball(loaded.camera, scene.unit_from_world))

    return in_parallel(load, scene.views, threads)


def _photograph(
    name: str, camera: Camera, values: Float[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
) -> Photograph:
    image = np.round(values * 255).astype(np.uint8)
    return Photograph(name, camera, image, colour_bins(image).astype(np.int32), edge_costs(values), region)


def sees_ball(camera: Camera, unit_from_world: Float[np.ndarray, "4 4"]) -> Bool[np.ndarray, "h w"]:
    """Pixels whose rays pass through the unit ball; all of them for a camera within it."""
    world_from_unit = np.linalg.inv(unit_from_world)
    radius = similarity_scale(world_from_unit)
    centre = camera.camera_from_world[:3, :3] @ world_from_unit[:3, 3] + camera.camera_from_world[:3, 3]
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    inverse = np.linalg.inv(camera.intrinsics)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ inverse.T
    along = rays @ centre
    squared_distance = centre @ centre - along**2 / (rays**2).sum(axis=-1)
    return (squared_distance < radius**2) & ((along > 0) | (centre @ centre < radius**2))


def in_parallel(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    threads: int | None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Result]:
    """The results in the order of the items, whatever the number of threads; `Stopped` when asked to stop."""
    with ThreadPoolExecutor(max(1, min(threads or available_threads(), len(items) or 1))) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            results = []
            for future in futures:
                if should_stop is not None and should_stop():
                    raise Stopped
                results.append(future.result())
            return results
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class Stopped(Exception):
    """The user does not want to wait for the masks."""
