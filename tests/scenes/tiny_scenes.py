"""Tiny scenes for the tests of readers and checks: a sphere with exact masks, seen by a ring of cameras.

Nothing here comes from the readers or writers under test, except where a test asks for the IDR writer.
"""

from pathlib import Path

import numpy as np

from dvr_cli.scenes.readers.idr import write_idr
from dvr_cli.scenes.synthetic import cameras_around, random_similarity

VIEWS, IMAGE_SIZE, RADIUS = 12, 64, 0.7


def world_from_unit():
    """An arbitrary but fixed similarity."""
    return random_similarity(np.random.default_rng(7))


def ring(views=VIEWS, image_size=IMAGE_SIZE):
    """Cameras around the unit ball, in the world."""
    return cameras_around(views, image_size, np.random.default_rng(3), world_from_unit())


def pixel_centres(camera):
    """All pixel centres (x, y), row by row."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    return np.stack([columns.ravel(), rows.ravel()], axis=1)


def sphere_mask(camera, centre_in_unit=(0.0, 0.0, 0.0), radius_in_unit=RADIUS):
    """Pixels whose ray passes the sphere's centre at less than its radius."""
    matrix = world_from_unit()
    centre = matrix[:3, :3] @ np.asarray(centre_in_unit) + matrix[:3, 3]
    radius = radius_in_unit * np.cbrt(np.linalg.det(matrix[:3, :3]))
    origins, directions = camera.rays(pixel_centres(camera))
    distance = np.linalg.norm(np.cross(centre - origins, directions), axis=1)
    return (distance < radius).reshape(camera.height, camera.width)


def pattern(directions, waves=12.0):
    """A smooth colour for every direction, in [0, 1]."""
    return 0.5 + 0.5 * np.sin(waves * np.asarray(directions))


def photograph(camera):
    """An image of the pattern at infinity."""
    _, directions = camera.rays(pixel_centres(camera))
    return pattern(directions).reshape(camera.height, camera.width, 3).astype(np.float32)


def write_sphere(folder: Path, with_scale_mat=True, cameras=None, masks=None):
    """The sphere in the IDR layout; returns its cameras."""
    cameras = ring() if cameras is None else cameras
    masks = [sphere_mask(camera) for camera in cameras] if masks is None else masks
    images = [photograph(camera) for camera in cameras]
    write_idr(folder, cameras, images, masks, world_from_unit() if with_scale_mat else None)
    return cameras


def change_arrays(path: Path, change):
    """Rewrite an npz after `change(dict)`."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(path, **arrays)


def write_colmap(root: Path, cameras, model="PINHOLE", distortion=(), text=False, points=None, names=None):
    """The cameras as a COLMAP model in sparse/0 with black photographs; every point is seen by every view."""
    import pycolmap
    from PIL import Image

    names = names or [f"{index:06d}.png" for index in range(len(cameras))]
    points = np.zeros((0, 3)) if points is None else points
    model_out = pycolmap.Reconstruction()
    for index, (camera, name) in enumerate(zip(cameras, names, strict=True), start=1):
        intrinsics = camera.intrinsics
        stored = pycolmap.Camera.create_from_model_name(index, model, intrinsics[0, 0], camera.width, camera.height)
        centre = [intrinsics[0, 2], intrinsics[1, 2]]
        single = len(stored.focal_length_idxs()) == 1
        focal = [intrinsics[0, 0]] if single else [intrinsics[0, 0], intrinsics[1, 1]]
        stored.params = [*focal, *centre, *(distortion or stored.params[len(focal) + 2 :])]
        model_out.add_camera_with_trivial_rig(stored)
        image = pycolmap.Image(image_id=index, name=name, camera_id=index)
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(np.zeros(2)) for _ in points])
        pose = pycolmap.Rigid3d(camera.camera_from_world[:3])
        model_out.add_image_with_trivial_frame(image, pose)
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (camera.width, camera.height)).save(root / "images" / name)
    for index, point in enumerate(points):
        track = pycolmap.Track()
        for image_id in range(1, len(cameras) + 1):
            track.add_element(image_id, index)
        point_id = model_out.add_point3D(point, track, np.array([10, 20, 30], np.uint8))
        model_out.points3D[point_id].error = 0.25 + index
    folder = root / "sparse" / "0"
    folder.mkdir(parents=True)
    (model_out.write_text if text else model_out.write_binary)(str(folder))
    return folder
