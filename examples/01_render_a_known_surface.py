"""Rays meet a sphere, and the distance at which they do has a gradient: the heart of the method, with numbers.

    python examples/01_render_a_known_surface.py

A grid is filled with the exact signed distance |p| - r. Rays of a camera find their first hits, and the implicit
gradient of the hit distance t is compared with the closed form and with finite differences. Growing the sphere by dr
lowers every value of the field by dr, so dt/dr is minus the sum of the gradient over all vertices; on paper it is
1 / (n . w), with n the outward normal and w the direction of the ray.
"""

from pathlib import Path

import torch

from dvr_cli.fields.grid import GridField
from dvr_cli.rendering.surface import first_hit, surface_at
from dvr_cli.viewing.sheet import contact_sheet, write_picture

RADIUS = 0.6
VOXELS = 97
WIDTH, HEIGHT, FOCAL = 320, 240, 420.0
OUTPUT = Path(__file__).parent / "output" / "01_sphere.png"


def sphere_field(radius: float) -> GridField:
    """Signed distances to a sphere around the origin, on a grid over [-1, 1]^3."""
    axis = torch.linspace(-1, 1, VOXELS)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    return GridField((x.square() + y.square() + z.square()).sqrt() - radius)


def camera_rays() -> tuple[torch.Tensor, torch.Tensor]:
    """Origins and unit directions through the pixel centres of a camera at z = -2.5 that looks along +z."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    directions = torch.stack([(columns - WIDTH / 2) / FOCAL, (rows - HEIGHT / 2) / FOCAL, torch.ones_like(rows)], dim=2)
    directions = torch.nn.functional.normalize(directions.reshape(-1, 3), dim=1)
    origins = torch.tensor([0.0, 0.0, -2.5]).expand(len(directions), 3).contiguous()
    return origins, directions


def distance_on_paper(origins: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(t, hit) of rays and the sphere |p| = r: the smaller root of a quadratic equation."""
    along = -(origins * directions).sum(dim=1)
    square = along.square() - origins.square().sum(dim=1) + RADIUS**2
    return along - square.clamp(min=0).sqrt(), square > 0


def implicit_derivative(field: GridField, origin: torch.Tensor, direction: torch.Tensor, t: torch.Tensor) -> float:
    """dt/dr of one ray, from the gradient that the backward pass leaves in the grid."""
    field.sdf.grad.zero_()
    surface_at(field, origin, direction, t).t.sum().backward()
    return -float(field.sdf.grad.sum())


def main() -> None:
    field, (origins, directions) = sphere_field(RADIUS), camera_rays()
    hits = first_hit(field, origins, directions)
    exact_t, exact_hit = distance_on_paper(origins, directions)
    both = hits.hit & exact_hit
    error = (hits.t - exact_t)[both].abs()
    print(f"{len(origins)} rays: {int(hits.hit.sum())} hit the grid's sphere, {int(exact_hit.sum())} the exact one")
    print(f"hit distance: mean error {error.mean():.1e}, a voxel is {field.voxel:.1e}")

    print("\n   n . w     dt/dr implicit   on paper   finite differences")
    larger, smaller = sphere_field(RADIUS + 0.002), sphere_field(RADIUS - 0.002)
    for column in (160, 190, 220, 245):
        ray = slice(HEIGHT // 2 * WIDTH + column, HEIGHT // 2 * WIDTH + column + 1)
        o, d = origins[ray], directions[ray]
        facing = float(((o + exact_t[ray, None] * d) / RADIUS * d).sum())
        difference = float(first_hit(larger, o, d).t - first_hit(smaller, o, d).t) / 0.004
        found = implicit_derivative(field, o, d, hits.t[ray])
        print(f"{facing:8.3f} {found:16.4f} {1 / facing:10.4f} {difference:20.4f}")

    index = hits.hit.nonzero().squeeze(1)
    surface = surface_at(field, origins[index], directions[index], hits.t[index])
    normals, depth = torch.zeros(len(origins), 3), torch.zeros(len(origins), 3)
    normals[index] = 0.5 + 0.5 * surface.normals
    depth[index] = ((3.0 - surface.t.detach()) / 1.2)[:, None].expand(-1, 3)
    pictures = [(name, image.reshape(HEIGHT, WIDTH, 3).numpy()) for name, image in
                (("normals", normals), ("distance", depth))]  # fmt: skip
    write_picture(OUTPUT, contact_sheet(pictures))
    print(f"\nWrote {OUTPUT.relative_to(Path(__file__).parent.parent)}")


if __name__ == "__main__":
    main()
