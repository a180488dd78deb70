"""A .usdz package holds what was put in, satisfies USD's own validators and finds its texture."""

import zipfile

import numpy as np
import pytest
from textured_mesh import textured_sphere, without_texture

from dvr_cli.surfaces.export import FileOptions, write_mesh
from dvr_cli.surfaces.files.placement import Placement
from dvr_cli.surfaces.files.srgb import linear_from_srgb
from dvr_cli.surfaces.files.texture_images import encode_image
from dvr_cli.surfaces.mesh import Mesh

pytest.importorskip("pxr", reason="usd-core is not installed")


@pytest.fixture(scope="module")
def mesh():
    return textured_sphere()


def opened(mesh, folder, options=FileOptions()):  # noqa: B008
    from pxr import Usd

    write_mesh(mesh, folder / "a.usdz", options)
    assert [entry.name for entry in folder.iterdir()] == ["a.usdz"]
    return Usd.Stage.Open(str(folder / "a.usdz"))


def surface_of(stage):
    from pxr import UsdGeom

    return UsdGeom.Mesh(stage.GetPrimAtPath("/Mesh/Surface"))


def test_shape_and_normals(mesh, tmp_path):
    stage = opened(Mesh(mesh.vertices, mesh.faces, mesh.normals), tmp_path)
    surface = surface_of(stage)
    np.testing.assert_array_equal(np.array(surface.GetPointsAttr().Get()), mesh.vertices.astype(np.float32))
    indices = np.array(surface.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    np.testing.assert_array_equal(indices, mesh.faces)
    assert set(surface.GetFaceVertexCountsAttr().Get()) == {3}
    np.testing.assert_array_equal(np.array(surface.GetNormalsAttr().Get()), mesh.normals.astype(np.float32))
    assert surface.GetSubdivisionSchemeAttr().Get() == "none"


def test_axes_and_units_are_stated(mesh, tmp_path):
    from pxr import UsdGeom

    stage = opened(mesh, tmp_path, FileOptions(Placement("z", "mm")))
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1
    points = np.array(surface_of(stage).GetPointsAttr().Get())
    np.testing.assert_allclose(points, mesh.vertices[:, [0, 2, 1]] * [0.001, 0.001, -0.001], atol=1e-6)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_texture_belongs_to_corners_and_is_found(mesh, tmp_path, kind):
    from pxr import UsdGeom

    image = encode_image(mesh.texture.image, kind)
    stage = opened(mesh, tmp_path, FileOptions(image=image))
    coordinates = UsdGeom.PrimvarsAPI(surface_of(stage)).GetPrimvar("st")
    assert coordinates.GetInterpolation() == "faceVarying"
    stored = np.array(coordinates.Get()).reshape(-1, 3, 2)
    np.testing.assert_array_equal(stored, mesh.texture.corners.astype(np.float32))
    name = stage.GetPrimAtPath("/Mesh/Material/Texture").GetAttribute("inputs:file").Get().path
    with zipfile.ZipFile(tmp_path / "a.usdz") as package:
        assert package.read(name) == image.content
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in package.infolist())
    assert not surface_of(stage).GetDisplayColorAttr().HasAuthoredValue()


def test_vertex_colours_are_light(mesh, tmp_path):
    stage = opened(without_texture(mesh), tmp_path)
    stored = np.array(surface_of(stage).GetDisplayColorAttr().Get())
    np.testing.assert_allclose(stored, linear_from_srgb(mesh.colors), atol=1e-6)


@pytest.mark.parametrize("change", [lambda mesh: mesh, without_texture, lambda mesh: Mesh(mesh.vertices, mesh.faces)])
def test_validators_of_usd_find_nothing(mesh, tmp_path, change):
    from pxr import UsdValidation

    stage = opened(change(mesh), tmp_path)
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    errors = UsdValidation.ValidationContext(validators).Validate(stage)
    assert not [f"{error.GetName()}: {error.GetMessage()}" for error in errors]
