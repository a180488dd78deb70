"""A mesh as a USDZ package, which phones and Apple's programs open: a binary USD layer and the texture.

Needs the optional library usd-core. Vertices stay shared: texture coordinates belong to the corners of faces. Vertex
colours are linear in light, as USD's displayColor is. Axes and units are the caller's: see placement.py.
"""

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.files.srgb import linear_from_srgb
from dvr_cli.surfaces.files.texture_images import EncodedImage
from dvr_cli.surfaces.mesh import Mesh

ROOT = "/Mesh"


def check_library(path: Path) -> None:
    """Raise ExportError when usd-core, which writes .usdz, is not installed."""
    if importlib.util.find_spec("pxr") is None:
        raise ExportError(
            f"{path.name}: .usdz files need the library usd-core.\n"
            "Install it with: pip install 'dvr-cli[usd]'. Or write a .glb."
        )


def write_usdz(mesh: Mesh, image: EncodedImage | None, path: Path) -> None:
    """Write the package at `path` (an existing file is replaced); `image` is the mesh's texture as PNG or JPEG.

    OSError when the disk is full.
    """
    from pxr import Tf, UsdUtils

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".dvr-usd-") as folder:
        layer = Path(folder) / "mesh.usdc"
        texture = None
        if mesh.texture is not None and image is not None:
            texture = f"texture{image.suffix}"
            (Path(folder) / texture).write_bytes(image.content)
        try:
            _write_layer(mesh, texture, layer)
            done = UsdUtils.CreateNewUsdzPackage(str(layer), str(path), "mesh.usdc")
        except Tf.ErrorException as error:
            raise OSError(f"the USD library reports: {error}") from error
    if not done:
        raise OSError("the USD library could not write the package")


def _write_layer(mesh: Mesh, texture: str | None, layer: Path) -> None:
    from pxr import Usd, UsdGeom, UsdShade

    stage = Usd.Stage.CreateNew(str(layer))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, ROOT).GetPrim())
    surface = _define_surface(stage, mesh, texture is not None)
    material = UsdShade.Material.Define(stage, f"{ROOT}/Material")
    shader = UsdShade.Shader.Define(stage, f"{ROOT}/Material/Surface")
    shader.CreateIdAttr("UsdPreviewSurface")
    colour = shader.CreateInput("diffuseColor", _types().Color3f)
    shader.CreateInput("roughness", _types().Float).Set(1.0)
    shader.CreateInput("metallic", _types().Float).Set(0.0)
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
    if texture is not None:
        colour.ConnectToSource(_texture_reader(stage, texture).ConnectableAPI(), "rgb")
    elif mesh.colors is not None:
        colour.ConnectToSource(_primvar_reader(stage, "displayColor", "float3").ConnectableAPI(), "result")
    else:
        colour.Set((0.5, 0.5, 0.5))
    UsdShade.MaterialBindingAPI.Apply(surface.GetPrim()).Bind(material)
    stage.GetRootLayer().Save()


def _define_surface(stage: Any, mesh: Mesh, textured: bool) -> Any:
    from pxr import UsdGeom, Vt

    surface = UsdGeom.Mesh.Define(stage, f"{ROOT}/Surface")
    vertices = mesh.vertices.astype(np.float32)
    surface.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(vertices))
    surface.CreateFaceVertexCountsAttr(Vt.IntArray(len(mesh.faces), 3))
    surface.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(mesh.faces.reshape(-1).astype(np.int32)))
    surface.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([vertices.min(axis=0), vertices.max(axis=0)])))
    # A polygon mesh as it is; the default would be a subdivision surface, which shrinks it.
    surface.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    if mesh.normals is not None:
        surface.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(mesh.normals.astype(np.float32)))
        surface.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    primvars = UsdGeom.PrimvarsAPI(surface)
    if textured:
        assert mesh.texture is not None
        corners = mesh.texture.corners.reshape(-1, 2).astype(np.float32)
        coordinates = primvars.CreatePrimvar("st", _types().TexCoord2fArray, UsdGeom.Tokens.faceVarying)
        coordinates.Set(Vt.Vec2fArray.FromNumpy(corners))
    elif mesh.colors is not None:
        light = linear_from_srgb(np.clip(np.nan_to_num(mesh.colors), 0, 1)).astype(np.float32)
        colours = primvars.CreatePrimvar("displayColor", _types().Color3fArray, UsdGeom.Tokens.vertex)
        colours.Set(Vt.Vec3fArray.FromNumpy(light))
    return surface


def _texture_reader(stage: Any, texture: str) -> Any:
    from pxr import UsdShade

    reader = UsdShade.Shader.Define(stage, f"{ROOT}/Material/Texture")
    reader.CreateIdAttr("UsdUVTexture")
    reader.CreateInput("file", _types().Asset).Set(texture)
    reader.CreateInput("sourceColorSpace", _types().Token).Set("sRGB")
    for direction in ("wrapS", "wrapT"):
        reader.CreateInput(direction, _types().Token).Set("clamp")
    coordinates = _primvar_reader(stage, "st", "float2")
    reader.CreateInput("st", _types().Float2).ConnectToSource(coordinates.ConnectableAPI(), "result")
    reader.CreateOutput("rgb", _types().Float3)
    return reader


def _primvar_reader(stage: Any, primvar: str, kind: str) -> Any:
    from pxr import UsdShade

    reader = UsdShade.Shader.Define(stage, f"{ROOT}/Material/Reader")
    reader.CreateIdAttr(f"UsdPrimvarReader_{kind}")
    reader.CreateInput("varname", _types().String).Set(primvar)
    reader.CreateOutput("result", _types().Float2 if kind == "float2" else _types().Float3)
    return reader


def _types() -> Any:
    from pxr import Sdf

    return Sdf.ValueTypeNames
