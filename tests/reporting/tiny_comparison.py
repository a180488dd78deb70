"""A small comparison in memory: a synthetic object, meshes of it with known faults, made-up evaluations."""

import numpy as np

from dvr_cli.comparing.comparison import Column, Comparison
from dvr_cli.comparing.measures import Evaluation, Measure
from dvr_cli.scenes.synthetic import synthetic_scene
from dvr_cli.scenes.synthetic_shapes import sphere
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.mesh import Mesh

RADIUS = 0.6
"""Of the sphere, unit space."""


def moved(mesh, distance):
    """The mesh with every vertex moved along its normal."""
    return Mesh(mesh.vertices + distance * mesh.normals, mesh.faces, mesh.normals, mesh.colors)


def half(mesh):
    """The faces on one side of the middle."""
    middles = mesh.vertices[mesh.faces].mean(axis=1)[:, 0]
    return Mesh(mesh.vertices, mesh.faces[middles < np.median(middles)], mesh.normals, mesh.colors)


def distances(accuracy, completeness):
    chamfer = None if accuracy is None else (accuracy + completeness) / 2
    measures = (
        Measure("accuracy", accuracy, "world units", "lower"),
        Measure("completeness", completeness, "world units", "lower"),
        Measure("chamfer", chamfer, "world units", "lower", "Chamfer"),
    )
    return Evaluation("plain", {"samples": 1000, "seed": 3, "threshold": np.float64(0.5)}, measures, ("A note.",))


def rephotographs(ncc, covered):
    measures = (Measure("ncc", ncc, "", "higher", "rephotography NCC"), Measure("covered", covered, "", "higher"))
    return Evaluation("rephotography", {"window": 7}, measures)


def tiny_comparison(names=("ours", "poisson, trim 0", "poisson, trim 7", "hull"), with_reference=True, views=5):
    shape = sphere(RADIUS)
    scene, loaded, _ = synthetic_scene(shape, views=max(views, 1), image_size=64)
    unit = extract(shape.value, shape.gradient, lambda points, _: shape.colour(points), resolution=24)
    mesh = to_world(unit, scene.world_from_unit)
    bare = Mesh(mesh.vertices, mesh.faces)
    columns = (
        Column(names[0], "dvr", mesh, (distances(0.1, 0.2), rephotographs(0.8, 1.0)), seconds=61.0, peak_memory_gb=1.5),
        Column(names[1], "poisson", moved(mesh, 0.1), (distances(0.3, 0.1), rephotographs(0.7, 1.0)), 0.0, 200.0),
        Column(
            *(names[2], "poisson", half(mesh), (distances(0.05, 0.9), rephotographs(0.9, 0.5)), 7.0, 200.0, None),
            settings={"depth": 9, "spacing": float("nan")},
            notes=("Half of it was cut away.",),
        ),
        Column(names[3], "hull", bare, (distances(None, None), rephotographs(float("nan"), None))),
    )
    return Comparison(
        scene,
        loaded[:views],
        tuple(range(0, views, 2)),
        columns,
        mesh if with_reference else None,
        {"seed": 3, "cull": np.int64(12), "limit": float("inf")},
        (("openmvs", "It is not installed."),),
    )
