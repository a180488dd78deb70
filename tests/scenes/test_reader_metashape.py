"""Metashape's cameras.xml: worked numbers for its lenses, what is left out is noted, hostile XML is refused."""

import re

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.polynomial_lens import polynomial_lens
from dvr_cli.scenes.readers import metashape, read_scene
from dvr_cli.scenes.writing import PixelsToWrite
from tests.scenes.tiny_scenes import photograph, pixel_centres, ring, sphere_mask, world_from_unit

SENSOR = """<sensor id="0" label="lens" type="{kind}"><resolution width="64" height="48"/>
<calibration type="{kind}" class="initial"><resolution width="64" height="48"/><f>99</f></calibration>
<calibration type="{kind}" class="adjusted"><resolution width="64" height="48"/>{values}</calibration></sensor>"""
CAMERA = '<camera id="0" sensor_id="0" component_id="0" label="a"><transform>{}</transform></camera>'
IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
# Worked by hand below: f = 60, cx = 2, cy = -1, and the point (x, y) = (0.2, 0.1).
PARAMETERS = {"f": 60, "cx": 2, "cy": -1, "k1": 0.1, "k2": -0.2, "k3": 0.3, "p1": 0.01, "p2": -0.02}


def write_export(root, values=PARAMETERS, cameras=None, kind="frame", component="", extra=""):
    """A file as Metashape writes it, with a black photograph for each camera."""
    cameras = (
        cameras or f'<camera id="0" sensor_id="0" component_id="0" label="a"><transform>{IDENTITY}</transform></camera>'
    )
    sensor = SENSOR.format(kind=kind, values="".join(f"<{name}>{value}</{name}>" for name, value in values.items()))
    (root / "images").mkdir(parents=True, exist_ok=True)
    for label in ("a", "b", "c"):
        Image.new("RGB", (64, 48)).save(root / "images" / f"{label}.JPG", "JPEG")
    (root / "cameras.xml").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<document version="2.0.0"><chunk label="Chunk 1" enabled="true">'
        f'<sensors next_id="1">{sensor}</sensors><components next_id="1" active_id="0"><component id="0" label="C">'
        f"{component}</component></components><cameras>{cameras}</cameras>{extra}</chunk></document>"
    )


def found(root):
    """What the reader finds: one camera alone says nothing of where the object is, so `read_scene` would not do."""
    return metashape.read(root, metashape.find(root), None)


def metashape_pixel(x, y, values, fisheye=False):
    """Metashape's manual, written down once more."""
    get = {name: values.get(name, 0.0) for name in ("f", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2")}
    if fisheye:
        radius = np.hypot(x, y)
        x, y = x * np.arctan(radius) / radius, y * np.arctan(radius) / radius
    r2 = x * x + y * y
    radial = 1 + get["k1"] * r2 + get["k2"] * r2**2 + get["k3"] * r2**3 + get["k4"] * r2**4
    x1 = x * radial + get["p1"] * (r2 + 2 * x * x) + 2 * get["p2"] * x * y
    y1 = y * radial + get["p2"] * (r2 + 2 * y * y) + 2 * get["p1"] * x * y
    return 32 + get["cx"] + x1 * get["f"] + x1 * get["b1"] + y1 * get["b2"], 24 + get["cy"] + y1 * get["f"]


def test_one_point_by_hand(tmp_path):
    write_export(tmp_path)
    # r2 = 0.05; radial = 1 + 0.005 - 0.0005 + 0.0000375 = 1.0045375
    # x' = 0.2009075 + 0.01 (0.05 + 0.08) - 0.04 * 0.02 = 0.2014075; u = 34 + 12.08445
    # y' = 0.10045375 - 0.02 (0.05 + 0.02) + 0.02 * 0.02 = 0.09945375; v = 23 + 5.967225
    pixel = found(tmp_path).views[0].distorted.img_from_cam(np.array([[0.2, 0.1, 1.0]]))
    np.testing.assert_allclose(pixel, [[46.08445, 28.967225]], atol=1e-9)


@pytest.mark.parametrize(
    ("values", "fisheye", "tolerance"),
    [
        (PARAMETERS, False, 1e-9),
        (PARAMETERS | {"b1": 1.5}, False, 1e-9),
        ({"f": 60, "k1": -0.1}, False, 1e-9),
        # The term k4 is fitted by a rational function.
        (PARAMETERS | {"k4": -0.08}, False, 0.02),
        ({"f": 60, "k1": -0.0919, "k2": -0.0763, "k3": 0.1163, "k4": -0.0761}, False, 0.02),
        (PARAMETERS | {"k4": 0.05}, True, 1e-9),
    ],
)
def test_lens_is_that_of_the_manual(tmp_path, values, fisheye, tolerance):
    write_export(tmp_path, values, kind="fisheye" if fisheye else "frame")
    lens = found(tmp_path).views[0].distorted
    for x, y in [(0.0, 0.0), (0.4, 0.3), (-0.5, 0.2), (0.1, -0.35), (-0.45, -0.35)]:
        pixel = lens.img_from_cam(np.array([[x, y, 1.0]]))[0]
        np.testing.assert_allclose(pixel, metashape_pixel(x, y, values, fisheye) if x or y else pixel, atol=tolerance)


def test_term_k4_of_a_wide_lens_is_fitted_to_a_tenth_of_a_pixel_in_the_corner():
    # Of the size and kind that drones have: the corner is 1.07 focal lengths from the axis, where k4 takes off a tenth.
    radial, focal, size = (-0.09, -0.08, 0.12, -0.08), 3700.0, (5280, 3956)
    lens = polynomial_lens(size, (focal, focal), (2640.0, 1978.0), radial, (0.0, 0.0), "lens")
    radii = np.linspace(0.01, 1.05, 50)
    distorted = radii * (1 + sum(k * radii ** (2 * power) for power, k in enumerate(radial, start=1)))
    inside = distorted < np.hypot(2640, 1978) / focal
    pixels = lens.img_from_cam(np.stack([0.8 * radii, 0.6 * radii, np.ones(50)], axis=1))
    error = np.linalg.norm(pixels - [2640, 1978], axis=1) - focal * distorted
    assert np.abs(error[inside]).max() < 0.1


@pytest.mark.parametrize("radial", [(1e200, 0, 0, 1e200), (0, 0, 0, 1e-300), (0, 0, 0, np.nan)])
def test_terms_that_no_lens_has_are_refused_or_harmless(radial):
    try:
        lens = polynomial_lens((5280, 3956), (3700.0, 3700.0), (2640.0, 1978.0), radial, (0.0, 0.0), "lens")
    except SceneError as error:
        assert "cannot be undistorted" in str(error) or "finite" in str(error)
    else:
        assert radial[3] == 1e-300 and np.isfinite(lens.params).all()


def test_skew_and_two_focal_lengths_without_distortion_are_kept(tmp_path):
    values = {"f": 60, "cx": 2, "cy": -1, "b1": 3.0, "b2": 2.0}
    write_export(tmp_path, values)
    view = found(tmp_path).views[0]
    pixels, _ = view.camera.project(np.array([[0.2, 0.1, 1.0]]))
    np.testing.assert_allclose(pixels[0], metashape_pixel(0.2, 0.1, values))
    # The same camera for a photograph of half the size.
    Image.new("RGB", (32, 24)).save(tmp_path / "images" / "a.JPG", "JPEG")
    half, _ = found(tmp_path).views[0].camera.project(np.array([[0.2, 0.1, 1.0]]))
    np.testing.assert_allclose(2 * half, pixels)


def test_small_skew_with_distortion_is_left_out_and_noted_and_a_large_one_refused(tmp_path):
    write_export(tmp_path, PARAMETERS | {"b2": -0.3})
    assert any("skew B2 is left out; it moves pixels by at most 0.12" in note for note in found(tmp_path).notes)
    write_export(tmp_path, PARAMETERS | {"b2": 2.0})
    with pytest.raises(SceneError, match=r"skew B2 = 2 moves pixels by 0\.80"):
        found(tmp_path)


def test_component_takes_cameras_and_region_to_the_world(tmp_path):
    # A quarter turn about z, scale 2, and a shift: chunk (1, 0, 0) becomes world (10, 2, 0).
    component = (
        '<transform><rotation locked="true">0 -1 0 1 0 0 0 0 1</rotation><translation>10 0 0</translation>'
        "<scale>2</scale></transform><region><center>1 0 0</center><size>2 4 4</size><R>1 0 0 0 1 0 0 0 1</R></region>"
    )
    camera = CAMERA.format("1 0 0 1 0 1 0 0 0 0 1 0 0 0 0 1")
    write_export(tmp_path, cameras=camera, component=component)
    scene = read_scene(tmp_path)
    np.testing.assert_allclose(scene.views[0].camera.centre, [10, 2, 0], atol=1e-12)
    # The camera's x axis, chunk x, is world y.
    np.testing.assert_allclose(scene.views[0].camera.camera_from_world[0, :3], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(scene.world_from_unit[:3, 3], [10, 2, 0], atol=1e-12)
    # Half the diagonal of the box, 3, times the scale.
    np.testing.assert_allclose(np.diag(scene.world_from_unit), [6, 6, 6, 1], atol=1e-12)
    assert scene.bounds_source == "region in cameras.xml"


def test_groups_are_read_and_what_is_left_out_is_noted(tmp_path):
    transform = f"<transform>{IDENTITY}</transform>"
    cameras = (
        f'<group id="0" label="G"><camera id="0" sensor_id="0" label="C:\\photos\\a.JPG">{transform}</camera></group>'
        f'<camera id="1" sensor_id="0" label="b" enabled="false">{transform}</camera>'
        '<camera id="2" sensor_id="0" label="c"/>'
        f'<camera id="3" sensor_id="0" label="nowhere">{transform}</camera>'
    )
    write_export(tmp_path, cameras=cameras)
    scene = found(tmp_path)
    assert [view.name for view in scene.views] == ["a.JPG"]
    notes = "\n".join(scene.notes)
    assert "1 camera is disabled and left out: b" in notes
    assert "1 camera is not aligned and left out: c" in notes
    assert "1 of 2 photographs that cameras.xml lists are missing and left out: nowhere" in notes


def test_largest_component_is_read(tmp_path):
    transform = f"<transform>{IDENTITY}</transform>"
    cameras = "".join(
        f'<camera id="{index}" sensor_id="0" component_id="{component}" label="{label}">{transform}</camera>'
        for index, (label, component) in enumerate([("a", 0), ("b", 1), ("c", 1)])
    )
    write_export(tmp_path, cameras=cameras)
    scene = found(tmp_path)
    assert [view.name for view in scene.views] == ["b.JPG", "c.JPG"]
    assert any("1 camera is in another component and left out: a" in note for note in scene.notes)


def test_written_scene_gives_the_same_cameras_masks_and_region(tmp_path):
    cameras = [camera for camera in ring()[:3]]
    views = [PixelsToWrite(f"left/{i}.png", c, photograph(c), sphere_mask(c)) for i, c in enumerate(cameras)]
    metashape.write(tmp_path, views, world_from_unit())
    scene = read_scene(tmp_path, masks=True)
    assert scene.format == "metashape"
    for view, camera in zip(scene.views, cameras, strict=True):
        for ours, theirs in zip(
            view.camera.rays(pixel_centres(camera)), camera.rays(pixel_centres(camera)), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
    # The ball is the same; how it is turned says nothing.
    np.testing.assert_allclose(scene.world_from_unit[:3, 3], world_from_unit()[:3, 3], atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(scene.world_from_unit), np.linalg.det(world_from_unit()), rtol=1e-9)


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE d SYSTEM "http://localhost/d.dtd">',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_documents_with_a_type_are_refused(tmp_path, head, encoding):
    write_export(tmp_path)
    path = tmp_path / "cameras.xml"
    body = re.sub(r"^<\?xml.*?\?>", "", path.read_text())
    path.write_bytes((f'<?xml version="1.0" encoding="{encoding}"?>{head}{body}').encode(encoding))
    with pytest.raises(SceneError, match=r"declares a document type"):
        metashape.read(tmp_path, path, None)


def test_deep_and_broken_documents_are_refused(tmp_path):
    write_export(tmp_path)
    path = tmp_path / "cameras.xml"
    whole = path.read_text()
    for content in (whole[:-30], whole.replace("<cameras>", "<cameras>" + "<group>" * 1000), "<document><chunk></x>"):
        path.write_text(content)
        with pytest.raises(SceneError, match="cannot be read as XML"):
            found(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("<f>60</f>", "<fx>60</fx>", "f = 99"),
        ("<f>60</f>", "<f>nan</f>", "finite number"),
        ("<f>60</f>", "<f>-60</f>", "focal length"),
        (IDENTITY, "1 0 0", "expected 16 numbers in transform, found 3"),
        (IDENTITY, IDENTITY.replace("1", "2"), "no rigid motion"),
        ('type="frame"', 'type="spherical"', "type 'spherical'"),
        ('width="64"', 'width="0"', "focal length|size 0x48|pixels"),
        ('label="a"', 'label="../../a"', None),
        ("</chunk>", "<p3>1</p3></chunk>", None),
        ("<k1>0.1</k1>", "<p3>1</p3>", "P3 = 1"),
    ],
)
def test_bad_values_are_refused(tmp_path, before, after, message):
    write_export(tmp_path)
    path = tmp_path / "cameras.xml"
    path.write_text(path.read_text().replace(before, after))
    if message is None:
        assert found(tmp_path).views[0].image_path == tmp_path / "images" / "a.JPG"
    elif message == "f = 99":
        # Without f in the adjusted calibration the initial one is read.
        np.testing.assert_allclose(found(tmp_path).views[0].camera.intrinsics[0, 0], 99)
    else:
        with pytest.raises(SceneError, match=message):
            found(tmp_path)


def test_two_photographs_for_one_label_are_refused(tmp_path):
    write_export(tmp_path)
    Image.new("RGB", (64, 48)).save(tmp_path / "images" / "a.png")
    with pytest.raises(SceneError, match="2 files fit"):
        found(tmp_path)
