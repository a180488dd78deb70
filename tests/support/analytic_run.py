"""A finished run whose field is an analytic shape, so that the exported mesh is known; run and scene are real."""

import sys
from types import ModuleType

import numpy as np
import torch

from dvr_cli.config import FAST
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import describe_scene, read_described_scene
from dvr_cli.scenes.synthetic import make_views, random_similarity, sphere, write_scene
from dvr_cli.scenes.synthetic_shapes import Blend, Sphere

WORLD_FROM_UNIT = random_similarity(np.random.default_rng(0))
SCALE = np.cbrt(np.linalg.det(WORLD_FROM_UNIT[:3, :3]))
BALL = sphere(0.5)
BALL_AND_BLOB = Blend(Sphere(0.5), Sphere(0.12, (0.0, 0.0, 0.8)), softness=1e-3)
"""The blob stands beside the ball that the photographs show."""


class AnalyticField:
    """A field whose value is a signed distance known in closed form."""

    half_width = 1.0
    voxels = 256
    """Samples a side at which it is exported; a field that has them holds distances."""

    def __init__(self, shape):
        self.shape = shape

    def value(self, points):
        return torch.from_numpy(self.shape.value(points.double().numpy()))

    def gradient(self, points):
        return torch.from_numpy(self.shape.gradient(points.double().numpy()))

    def colour(self, points, directions):
        return 0.5 - 0.5 * directions


def write_ball_scene(folder, views=5):
    """Photographs of the ball, in the folder."""
    write_scene(folder, make_views(BALL, views, 64, 0, WORLD_FROM_UNIT), WORLD_FROM_UNIT)


def make_run(folder, scene_folder, monkeypatch, shape=BALL_AND_BLOB, **reading):
    """A finished run of the scene in `folder`; its field is the shape for as long as the test lasts."""
    reading = {"masks": True, "depth": None, "colmap": None, "view_range": None, **reading}
    scene = read_described_scene(scene_folder, reading)
    with RunFolder.create(folder, FAST, describe_scene(scene, reading)) as run:
        run.save_checkpoint({"step": 1}, 1)
        run.write_summary({"finished": True})

    def load_field(run, device, report):
        run.load_checkpoint(report)
        return AnalyticField(shape), scene.world_from_unit

    engine = ModuleType("dvr_cli.fitting.reconstruct")
    engine.load_field = load_field
    monkeypatch.setitem(sys.modules, "dvr_cli.fitting.reconstruct", engine)
    return folder
