"""Shapes that the comparisons are tested on: spheres whose mesh is known exactly, and cameras around them."""

import numpy as np
import trimesh

from dvr_cli.scenes.synthetic import cameras_around
from dvr_cli.surfaces.cleaning import keep_faces
from dvr_cli.surfaces.mesh import Mesh


def ball(radius=1.0, centre=(0.0, 0.0, 0.0), subdivisions=4):
    """A sphere of 20 * 4^subdivisions triangles, all nearly of one size."""
    made = trimesh.creation.icosphere(subdivisions=subdivisions, radius=1.0)
    directions = np.array(made.vertices, dtype=np.float64)
    return Mesh(radius * directions + np.asarray(centre), np.array(made.faces, dtype=np.int64), normals=directions)


def along_normals(mesh, length):
    """Every vertex moved along its normal."""
    return Mesh(mesh.vertices + length * mesh.normals, mesh.faces, mesh.normals)


def together(*meshes):
    """One mesh of several parts."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))


def upper_half(mesh, axis=2):
    """The faces whose middle has a positive coordinate."""
    return keep_faces(mesh, mesh.vertices[mesh.faces].mean(axis=1)[:, axis] > 0)


def cameras_of(radius=1.0, count=12):
    """Cameras all around the origin that see a ball of this radius."""
    return cameras_around(count, 64, np.random.default_rng(0), np.diag([radius, radius, radius, 1.0]))
