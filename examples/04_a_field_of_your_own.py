"""A field that is no grid: three functions are enough for the renderer, the gradient and the export.

    python examples/04_a_field_of_your_own.py

An ellipsoid with six parameters, centre and semi-axes, is fitted to distances that rays measured on a target, by plain
gradient descent through the implicit gradient. Nothing but the `Field` protocol is used (docs/adding_a_field.md).
"""

from pathlib import Path

import torch
from torch import nn

from dvr_cli.fields.protocol import Field
from dvr_cli.rendering.surface import first_hit, surface_at
from dvr_cli.surfaces.export import write_mesh
from dvr_cli.surfaces.from_field import extract_field
from dvr_cli.surfaces.topology import signed_volume

OUTPUT = Path(__file__).parent / "output" / "04_ellipsoid.ply"
STEPS = 150


class Ellipsoid(nn.Module):
    """|(p - centre) / axes| - 1: negative inside, but no distance; the renderer does not ask for one."""

    half_width = 1.0

    def __init__(self, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.tensor(centre))
        self.log_axes = nn.Parameter(torch.tensor(axes).log())

    def value(self, points: torch.Tensor) -> torch.Tensor:
        return ((points - self.centre) / self.log_axes.exp()).norm(dim=1) - 1

    def gradient(self, points: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            at = points.detach().requires_grad_()
            return torch.autograd.grad(self.value(at).sum(), at)[0]

    def colour(self, points: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        return 0.5 + 0.5 * points


def random_rays(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays from a sphere of radius 2.5 towards the middle of the cube."""
    origins = 2.5 * nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    targets = 0.5 * torch.rand(count, 3, generator=generator) - 0.25
    return origins, nn.functional.normalize(targets - origins, dim=1)


def main() -> None:
    target = Ellipsoid((0.1, -0.05, 0.15), (0.6, 0.4, 0.3))
    field = Ellipsoid((0.0, 0.0, 0.0), (0.5, 0.5, 0.5))
    assert isinstance(field, Field)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(field.parameters(), lr=0.02)
    for step in range(STEPS + 1):
        origins, directions = random_rays(512, generator)
        measured, hits = first_hit(target, origins, directions), first_hit(field, origins, directions)
        both = measured.hit & hits.hit
        surface = surface_at(field, origins[both], directions[both], hits.t[both])
        loss = (surface.t - measured.t[both]).abs().mean()
        if step % 50 == 0:
            axes = ", ".join(f"{axis:.3f}" for axis in field.log_axes.exp().tolist())
            print(f"step {step:3d}  mean error of t {loss.item():.4f}  semi-axes {axes}")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    mesh = extract_field(field, resolution=96)
    write_mesh(mesh, OUTPUT)
    expected = 4 / 3 * torch.pi * 0.6 * 0.4 * 0.3
    print(f"volume of the mesh {signed_volume(mesh):.4f}, of the target {expected:.4f}")
    print(f"Wrote {OUTPUT.relative_to(Path(__file__).parent.parent)}")


if __name__ == "__main__":
    main()
