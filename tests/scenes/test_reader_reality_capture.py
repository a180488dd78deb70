"""RealityCapture's CSV and XMP: the same camera published in both, worked numbers, round trips, what is refused."""

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers import read_scene, reality_capture
from dvr_cli.scenes.readers.reality_capture import angles, camera_from_world_rotation
from dvr_cli.scenes.synthetic import random_similarity
from dvr_cli.scenes.views import Camera
from dvr_cli.scenes.writing import PixelsToWrite
from tests.scenes.tiny_scenes import photograph, pixel_centres, ring

HEADER = "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"
# One camera that a user of the program has published in both formats (forum of the Unreal Engine, topic 710449).
PUBLISHED_ANGLES = (163.736597399311, 83.4154313461628, 174.386496244756)
PUBLISHED_ROTATION = (
    (0.982594073038806, 0.185426733553445, -0.0112166890261935),
    (-0.032113633044729, 0.11008102707942, -0.993403685341366),
)
SIDECAR = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xcr:Version="3" xcr:PosePrior="initial" xcr:Coordinates="absolute" xcr:DistortionModel="brown3"
 xcr:FocalLength35mm="27" xcr:Skew="0" xcr:AspectRatio="1" xcr:PrincipalPointU="0.05" xcr:PrincipalPointV="-0.025"
 xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#">
<xcr:Rotation>0 1 0 0 0 -1 -1 0 0</xcr:Rotation><xcr:Position>3 4 5</xcr:Position>
<xcr:DistortionCoeficients>0.1 -0.2 0.3 0 0 0</xcr:DistortionCoeficients>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def write_photographs(root, *names, size=(64, 48)):
    (root / "images").mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size).save(root / "images" / name)


def found(root):
    """What the reader finds: one camera alone says nothing of where the object is, so `read_scene` would not do."""
    return reality_capture.read(root, reality_capture.find(root), None)


def square_ring(count):
    cameras = []
    for camera in ring()[:count]:
        intrinsics = camera.intrinsics.copy()
        intrinsics[1, 1] = intrinsics[0, 0]
        cameras.append(Camera(intrinsics, camera.camera_from_world, camera.height, camera.width))
    return cameras


def test_angles_of_the_table_are_the_rotation_of_the_sidecar():
    np.testing.assert_allclose(camera_from_world_rotation(*PUBLISHED_ANGLES)[:2], PUBLISHED_ROTATION, atol=1e-7)


def test_camera_without_angles_looks_down_with_north_at_the_top():
    rotation = camera_from_world_rotation(0.0, 0.0, 0.0)
    np.testing.assert_allclose(rotation @ [0, 0, -1], [0, 0, 1])
    np.testing.assert_allclose(rotation @ [0, 1, 0], [0, -1, 0])
    # A heading of 90 degrees turns the top of the image to the east, which is +x.
    np.testing.assert_allclose(camera_from_world_rotation(90.0, 0.0, 0.0) @ [1, 0, 0], [0, -1, 0], atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_angles_invert_the_rotation(seed):
    matrix = random_similarity(np.random.default_rng(seed))[:3, :3]
    rotation = matrix / np.cbrt(np.linalg.det(matrix))
    np.testing.assert_allclose(camera_from_world_rotation(*angles(rotation)), rotation, atol=1e-9)


@pytest.mark.parametrize("pitch", [90.0, -90.0])
def test_angles_of_cameras_that_look_straight_ahead(pitch):
    rotation = camera_from_world_rotation(30.0, pitch, 20.0)
    np.testing.assert_allclose(camera_from_world_rotation(*angles(rotation)), rotation, atol=1e-9)


@pytest.mark.parametrize(("size", "centre"), [((64, 48), (35.2, 22.4)), ((48, 64), (27.2, 30.4))])
def test_lens_by_hand(tmp_path, size, centre):
    write_photographs(tmp_path, "a.png", size=size)
    row = "a.png,3,4,5,0,0,0,27,0.05,-0.025,0.1,-0.2,0.3,0,0,0"
    (tmp_path / "export.csv").write_text(f"#cameras 1\n{HEADER}\n{row}\n")
    scene = found(tmp_path)
    view = scene.views[0]
    assert not scene.notes
    np.testing.assert_allclose(view.camera.centre, [3, 4, 5], atol=1e-12)
    # f = 27 / 36 of 64 pixels; the radial factor at r2 = 0.05 is 1.0045375.
    np.testing.assert_allclose(view.distorted.img_from_cam(np.array([[0.0, 0.0, 1.0]])), [centre], atol=1e-9)
    pixel = view.distorted.img_from_cam(np.array([[0.2, 0.1, 1.0]]))
    np.testing.assert_allclose(pixel - centre, [[0.2 * 48 * 1.0045375, 0.1 * 48 * 1.0045375]], atol=1e-9)


def test_sidecar_gives_the_same_as_the_table(tmp_path):
    write_photographs(tmp_path / "csv", "a.png")
    write_photographs(tmp_path / "xmp", "a.png")
    (tmp_path / "xmp" / "images" / "a.xmp").write_text(SIDECAR)
    rotation = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    turned = ",".join(repr(value) for value in angles(rotation))
    row = f"a.png,3,4,5,{turned},27,0.05,-0.025,0.1,-0.2,0.3,0,0,0"
    (tmp_path / "csv" / "cameras.csv").write_text(f"{HEADER}\n{row}\n")
    by_table, by_sidecar = (found(tmp_path / kind).views[0] for kind in ("csv", "xmp"))
    np.testing.assert_allclose(by_sidecar.camera.camera_from_world[:3, :3], rotation, atol=1e-12)
    np.testing.assert_allclose(by_table.camera.camera_from_world, by_sidecar.camera.camera_from_world, atol=1e-9)
    np.testing.assert_allclose(by_table.camera.intrinsics, by_sidecar.camera.intrinsics, atol=1e-9)
    np.testing.assert_allclose(by_table.distorted.params, by_sidecar.distorted.params, atol=1e-9)


def test_values_of_a_sidecar_may_be_attributes(tmp_path):
    write_photographs(tmp_path, "a.png")
    moved = SIDECAR.replace("<xcr:Position>3 4 5</xcr:Position>", "").replace(
        'xcr:Skew="0"', 'xcr:Skew="0" xcr:Position="3 4 5"'
    )
    (tmp_path / "images" / "a.xmp").write_text(moved)
    np.testing.assert_allclose(found(tmp_path).views[0].camera.centre, [3, 4, 5], atol=1e-12)


def test_sidecars_of_other_programs_and_without_pose_are_no_cameras(tmp_path):
    write_photographs(tmp_path, "a.png", "b.png")
    (tmp_path / "images" / "b.xmp").write_text("<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    assert reality_capture.find(tmp_path) is None
    (tmp_path / "images" / "a.xmp").write_text(SIDECAR)
    scene = found(tmp_path)
    assert [view.name for view in scene.views] == ["a.png"]
    assert any("1 sidecar without a pose is left out: b" in note for note in scene.notes)


def test_sidecars_stand_back_where_there_is_another_camera_file(tmp_path):
    write_photographs(tmp_path, "a.png")
    (tmp_path / "images" / "a.xmp").write_text(SIDECAR)
    assert reality_capture.find(tmp_path) == tmp_path / "images"
    (tmp_path / "transforms.json").write_text("{}")
    assert reality_capture.find(tmp_path) is None
    (tmp_path / "e.csv").write_text(f"{HEADER}\n")
    assert reality_capture.find(tmp_path) == tmp_path / "e.csv"
    # Named by the user, they are read all the same.
    scene = reality_capture.read(tmp_path, tmp_path / "images" / "a.xmp", None)
    assert reality_capture.accepts(tmp_path / "images") and len(scene.views) == 1


def test_written_scene_gives_the_same_rays(tmp_path):
    cameras = square_ring(4)
    names = ["left/0.png", 'a "b", c.png', "plain.png", "ü.png"]
    views = [PixelsToWrite(name, camera, photograph(camera)) for name, camera in zip(names, cameras, strict=True)]
    reality_capture.write(tmp_path, views)
    scene = read_scene(tmp_path)
    assert scene.format == "reality_capture"
    by_name = {view.name: view.camera for view in scene.views}
    assert set(by_name) == set(names)
    for name, camera in zip(names, cameras, strict=True):
        pixels = pixel_centres(camera)
        for ours, theirs in zip(by_name[name].rays(pixels), camera.rays(pixels), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_tangential_terms_stand_the_other_way_round_than_opencv_s(tmp_path):
    write_photographs(tmp_path, "a.png")
    (tmp_path / "e.csv").write_text(f"{HEADER}\na.png,0,0,0,0,0,0,27,0,0,0,0,0,0,0.01,-0.02\n")
    pixel = found(tmp_path).views[0].distorted.img_from_cam(np.array([[0.2, 0.1, 1.0]]))
    # x' = 0.2 + t1 (r2 + 2 x2) + 2 t2 x y = 0.2 + 0.0013 - 0.0008, y' = 0.1 + t2 (r2 + 2 y2) + 2 t1 x y = 0.1 - 0.001
    np.testing.assert_allclose(pixel, [[32 + 48 * 0.2005, 24 + 48 * 0.099]], atol=1e-9)


def test_columns_may_have_the_names_of_realityscan(tmp_path):
    write_photographs(tmp_path, "a.png")
    header = "#name,x,y,alt,yaw,pitch,roll,f_35mm,px_norm,py_norm"
    row = "a.png,1,2,3,163.736597399311,83.4154313461628,174.386496244756,36,0.05,-0.025"
    (tmp_path / "e.csv").write_text(f"{header}\n{row}\n")
    camera = found(tmp_path).views[0].camera
    np.testing.assert_allclose(camera.intrinsics, [[64, 0, 35.2], [0, 64, 22.4], [0, 0, 1]])
    np.testing.assert_allclose(camera.camera_from_world[:2, :3], PUBLISHED_ROTATION, atol=1e-7)


def test_missing_photographs_are_noted(tmp_path):
    write_photographs(tmp_path, "a.png")
    (tmp_path / "e.csv").write_text(
        f"{HEADER}\na,0,0,0,0,0,0,30,0,0,0,0,0,0,0.001,0\nb,0,0,0,0,0,0,30,0,0,0,0,0,0,0,0\n"
    )
    notes = "\n".join(found(tmp_path).notes)
    assert "1 of 2 photographs that e.csv lists are missing and left out: b" in notes


def test_columns_may_be_fewer_and_in_another_order(tmp_path):
    write_photographs(tmp_path, "a.png")
    (tmp_path / "e.csv").write_text("#name,f,heading,pitch,roll,x,y,alt\na.png,36,0,0,0,1,2,3\n")
    camera = found(tmp_path).views[0].camera
    np.testing.assert_allclose(camera.intrinsics, [[64, 0, 32], [0, 64, 24], [0, 0, 1]])
    np.testing.assert_allclose(camera.centre, [1, 2, 3], atol=1e-12)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,0,0,0,0,0", "line 2: 6 values"),
        ("a.png,0,0,nan,0,0,0,30", "line 2: expected a finite number"),
        ("a.png,0,0,0,0,0,0,-30", "focal length"),
        ("a.png,0,0,0,0,0,0,1e300", "focal length"),
        ("../a.png,0,0,0,1e300,0,0,30,0,0,1e200,1e200,1e200,1e200,0,0", "distortion"),
        ("b.png,0,0,0,0,0,0,30", "photograph for none"),
        ("a.png,0,0,0,0,0,0,30\na.png,0,0,0,0,0,0,30", "two cameras belong to the photograph a.png"),
        ('"a.png,0,0,0,0,0,0,30' + "x" * 200_000, "no CSV|values"),
    ],
)
def test_bad_rows_are_refused(tmp_path, row, message):
    write_photographs(tmp_path, "a.png")
    (tmp_path / "e.csv").write_text(f"{HEADER}\n{row}\n")
    with pytest.raises(SceneError, match=message):
        found(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('Coordinates="absolute"', 'Coordinates="relative"', "coordinates 'relative'"),
        ('AspectRatio="1"', 'AspectRatio="1.01"', r"aspect ratio 1\.01"),
        ('"brown3"', '"division"', "distortion model 'division'"),
        ("0 1 0 0 0 -1 -1 0 0", "0 1 0 0 0 -1 -1 0", "expected 9 numbers in Rotation, found 8"),
        ("0 1 0 0 0 -1 -1 0 0", "0 1 0 0 0 -1 1 0 0", "no rigid motion"),
        ('FocalLength35mm="27"', 'FocalLength35mm="inf"', "finite number"),
        ("<x:xmpmeta", "<!DOCTYPE x []><x:xmpmeta", "document type"),
    ],
)
def test_bad_sidecars_are_refused(tmp_path, before, after, message):
    write_photographs(tmp_path, "a.png")
    (tmp_path / "images" / "a.xmp").write_text(SIDECAR.replace(before, after))
    with pytest.raises(SceneError, match=message):
        found(tmp_path)
