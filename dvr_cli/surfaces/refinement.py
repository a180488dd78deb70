"""Refinement of an extracted mesh by the field it came from: faces onto the level set, face normals along the field's.

Mescheder et al., Occupancy Networks, CVPR 2019, section 3.3 and equation 6; used by DVR with 30 steps. With p_k a
random point of face k, n_k the face's normal, sigma the occupancy and tau = 1/2,

    loss = mean over k of (sigma(p_k) - tau)^2 + 0.01 |n_k - n(p_k)|^2,

where n(p) is the unit vector along the gradient of the field's value, outwards.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.fields.protocol import Field
from dvr_cli.surfaces.extraction import unit_rows
from dvr_cli.surfaces.from_field import NETWORK_CHUNK, field_functions
from dvr_cli.surfaces.mesh import Mesh

STEPS = 30
LEARNING_RATE = 2e-5
"""The paper's 1e-5 in coordinates twice as large. RMSprop's steps do not depend on the gradient's scale: a vertex
begins with ten times as much per axis and then takes about this much."""
FACES_PER_STEP = 10_000
NORMAL_WEIGHT = 0.01
TAU = 0.5
"""Occupancy at the surface: that of the value 0."""
NEAR_WALL = 1e-6
"""Of the half width: vertices nearer to a wall than this belong to it."""


def refine(
    mesh: Mesh,
    field: Field,
    *,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    faces_per_step: int = FACES_PER_STEP,
    seed: int = 0,
) -> Mesh:
    """The mesh with its vertices moved by RMSprop steps on the loss above, and normals and colours of the field there.

    `mesh` is in unit space, as extracted. `field.value` must be differentiable with respect to the points, which a
    network's is and a grid's is not (ValueError). Every step takes another batch of faces; all come once before any
    comes again. Vertices on the walls of the cube stay in them, and faces that lie in a wall, where no level set is
    near, take no part. The corners of faces that have turned over at the end go back to where they were. The result
    depends on the arguments only, `seed` among them.

    The gradient flows through the face's normal and through the value at the face's point. The field's normal counts as
    constant: in a network of ReLUs it is, piecewise.
    """
    walls = np.abs(mesh.vertices) >= (1 - NEAR_WALL) * field.half_width
    free_faces = mesh.faces[~walls[mesh.faces].all(axis=1).any(axis=1)]
    if not steps or not len(free_faces):
        return mesh
    like = _working_type(field)
    start = torch.as_tensor(mesh.vertices, dtype=like.dtype, device=like.device)
    movable = torch.as_tensor(~walls, dtype=like.dtype, device=like.device)
    offsets = torch.zeros_like(start, requires_grad=True)
    optimiser = torch.optim.RMSprop([offsets], lr=learning_rate)
    generator = np.random.default_rng(seed)
    batches = face_batches(len(free_faces), faces_per_step, generator)
    for _ in range(steps):
        chosen = free_faces[next(batches)]
        weights = torch.as_tensor(generator.dirichlet((0.5,) * 3, len(chosen)), dtype=like.dtype, device=like.device)
        faces = torch.as_tensor(chosen, device=like.device)
        optimiser.zero_grad()
        refinement_loss((start + movable * offsets)[faces], weights, field).backward()
        optimiser.step()
    moved = mesh.vertices + (movable * offsets.detach()).cpu().numpy()
    vertices = _without_turned_faces(mesh, np.clip(moved, -field.half_width, field.half_width))
    return _with_attributes(mesh, vertices, walls, field)


def refinement_loss(
    corners: Float[Tensor, "f 3 3"], weights: Float[Tensor, "f 3"], field: Field, normal_weight: float = NORMAL_WEIGHT
) -> Float[Tensor, ""]:
    """The loss of faces, given their corners and the barycentric weights of a point of each.

    Differentiable with respect to the corners; the field's parameters get no gradient.
    """
    points = (corners * weights[..., None]).sum(dim=1)
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    values, slopes = _value_and_slope(field, points.detach())
    # The value's first order term in the point is all that its gradient needs, so one pass back through the field gives
    # both the target for the normal and the gradient of the first term.
    values = values + (slopes * (points - points.detach())).sum(dim=1)
    to_level = (torch.sigmoid(-values) - TAU).square()
    to_normal = (_unit(normals) - _unit(slopes)).square().sum(dim=1)
    return (to_level + normal_weight * to_normal).mean()


def face_batches(count: int, size: int, generator: np.random.Generator) -> Iterator[Int[np.ndarray, "b"]]:
    """Without end: the numbers below `count` in random order, at most `size` at a time, all before any comes again."""
    while True:
        order = generator.permutation(count)
        yield from (order[start : start + size] for start in range(0, count, size))


def _value_and_slope(field: Field, points: Float[Tensor, "p 3"]) -> tuple[Float[Tensor, "p"], Float[Tensor, "p 3"]]:
    """The field's value and its spatial gradient, both detached."""
    values, slopes = [], []
    for part in points.split(NETWORK_CHUNK):
        with torch.enable_grad():
            at = part.detach().requires_grad_()
            value = field.value(at)
            slope = torch.autograd.grad(value.sum(), at, allow_unused=True)[0] if value.requires_grad else None
        if slope is None:
            raise ValueError("refine: the field's value is not differentiable with respect to the points")
        values.append(value.detach())
        slopes.append(slope)
    return torch.cat(values), torch.cat(slopes)


def _unit(vectors: Float[Tensor, "p 3"]) -> Float[Tensor, "p 3"]:
    """Rows scaled to length one; those that vanish stay zero, with a finite gradient."""
    square = vectors.square().sum(dim=1, keepdim=True)
    return vectors / torch.where(square > 0, square, 1.0).sqrt()


def _working_type(field: Field) -> Tensor:
    """An empty tensor on the field's device and in its precision."""
    parameters = getattr(field, "parameters", None)
    first = next(iter(parameters()), None) if callable(parameters) else None
    return torch.empty(0) if first is None else torch.empty(0, dtype=first.dtype, device=first.device)


def _without_turned_faces(mesh: Mesh, vertices: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v 3"]:
    """The moved vertices, those put back that are corners of a face that looks the other way, until none does.

    Marching cubes leaves slivers with edges shorter than a step; some of these turn.
    """
    before, vertices = face_vectors(mesh.vertices, mesh.faces), vertices.copy()
    while True:
        turned = np.einsum("fi,fi->f", before, face_vectors(vertices, mesh.faces)) < 0
        if not turned.any():
            return vertices
        corners = mesh.faces[turned]
        vertices[corners] = mesh.vertices[corners]


def face_vectors(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 3"]:
    """Outward normals of the faces, twice their area long."""
    corners = vertices[faces]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _with_attributes(
    mesh: Mesh, vertices: Float[np.ndarray, "v 3"], walls: Bool[np.ndarray, "v 3"], field: Field
) -> Mesh:
    """The mesh with other vertices, and normals and colours, where it had some, as the field gives them there.

    Normals on the walls stay those of the walls.
    """
    _, gradient, colour = field_functions(field)
    normals, colors = mesh.normals, mesh.colors
    if normals is not None:
        normals = np.where(walls.any(axis=1, keepdims=True), normals, unit_rows(gradient(vertices).astype(np.float64)))
        if colors is not None:
            colors = np.clip(np.nan_to_num(colour(vertices, -normals).astype(np.float64)), 0.0, 1.0)
    return replace(mesh, vertices=vertices, normals=normals, colors=colors)
