"""The tiny scenes that are mutated: three views of 16 pixels, written by each format's own writer."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dvr_cli.scenes.readers.table import READERS, Reader
from dvr_cli.scenes.views import Camera, SparseDepth
from dvr_cli.scenes.writing import PixelsToWrite
from tests.scenes.tiny_scenes import photograph, ring, sphere_mask, world_from_unit

VIEWS, IMAGE_SIZE = 3, 16
DEPTH, DEPTH_EXR = "depth", "depth_exr"
"""Not readers: the files that `--depth` takes, beside an IDR scene; OpenEXR for itself, where its library is there."""


@dataclass(frozen=True)
class Template:
    """One scene to mutate."""

    folder: Path
    format_name: str
    depth: str | None = None
    """Name in the folder that is passed as depth."""


def subjects() -> list[str]:
    """Names of everything that can be fuzzed: all readers, and the files of depth."""
    exr = [DEPTH_EXR] if importlib.util.find_spec("OpenEXR") else []
    return [reader.name for reader in READERS] + [DEPTH, *exr]


def write_templates(root: Path, name: str) -> list[Template]:
    """All templates of a reader, written into folders of `root`."""
    if name == DEPTH:
        return _depth_templates(root)
    if name == DEPTH_EXR:
        return _exr_templates(root)
    reader = next(reader for reader in READERS if reader.name == name)
    full, bare = root / f"{name}_full", root / f"{name}_bare"
    reader.write(full, _views(reader, with_masks=True), world_from_unit(), _points())
    reader.write(bare, _views(reader, with_masks=False), None, None)
    templates = [Template(full, name), Template(bare, name)]
    for index, make in enumerate(_MORE.get(name, ())):
        folder = root / f"{name}_{index}"
        reader.write(folder, _views(reader, with_masks=False), world_from_unit(), _points())
        make(folder)
        templates.append(Template(folder, name))
    return templates


def _views(reader: Reader, with_masks: bool) -> list[PixelsToWrite]:
    views = []
    for index, camera in enumerate(_cameras(reader.needs)):
        mask = sphere_mask(camera) if with_masks else None
        views.append(PixelsToWrite(f"{index:06d}.png", camera, photograph(camera), mask))
    return views


def _cameras(needs: str) -> list[Camera]:
    cameras = []
    for camera in ring(VIEWS, IMAGE_SIZE):
        intrinsics = camera.intrinsics.copy()
        if needs != "pinhole":
            intrinsics[1, 1] = intrinsics[0, 0]
        if needs == "centred":
            intrinsics[:2, 2] = camera.width / 2, camera.height / 2
        cameras.append(replace(camera, intrinsics=intrinsics))
    return cameras


def _points() -> SparseDepth:
    generator = np.random.default_rng(11)
    directions = generator.normal(size=(20, 3))
    on_sphere = 0.7 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    points = on_sphere @ world_from_unit()[:3, :3].T + world_from_unit()[:3, 3]
    pairs = np.array([(view, point) for view in range(VIEWS) for point in range(20) if (view + point) % 2])
    return SparseDepth(points, pairs, np.full(20, 0.5), generator.random((20, 3)))


def _colmap_as_text(folder: Path) -> None:
    import pycolmap

    model_folder = folder / "sparse" / "0"
    model = pycolmap.Reconstruction(str(model_folder))
    for path in model_folder.iterdir():
        path.unlink()
    model.write_text(str(model_folder))


def _colmap_with_distortion(folder: Path) -> None:
    _colmap_as_text(folder)
    path = folder / "sparse" / "0" / "cameras.txt"
    lines = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    models = (("OPENCV", "0.1 -0.05 0.001 0.002"), ("OPENCV_FISHEYE", "0.01 0.02 0 0"), ("FULL_OPENCV", "0 " * 8))
    changed = [
        f"{words[0]} {model} {' '.join(words[2:8])} {more}" for words, (model, more) in zip(lines, models, strict=True)
    ]
    path.write_text("\n".join(changed) + "\n")


def _transforms_with_distortion(folder: Path) -> None:
    path = next(folder.glob("transforms*.json"))
    content = json.loads(path.read_text())
    content |= {"k1": 0.05, "k2": -0.01, "p1": 0.001, "p2": 0.0, "camera_model": "OPENCV"}
    path.write_text(json.dumps(content))


def _metashape_with_distortion(folder: Path) -> None:
    path = folder / "cameras.xml"
    values = "".join(f"<{name}>{value}</{name}>" for name, value in (("k1", 0.1), ("k2", -0.05), ("p1", 0.001)))
    first, rest = path.read_text().replace("</calibration>", f"{values}</calibration>").split("</calibration>", 1)
    component = "<rotation>0 -1 0 1 0 0 0 0 1</rotation><translation>1 2 3</translation><scale>2</scale>"
    rest = rest.replace("<region>", f"<transform>{component}</transform><region>", 1)
    # The first sensor has the term that is fitted, and the others have not.
    path.write_text(f"{first}<k4>0.02</k4></calibration>{rest}")


def _metashape_fisheye(folder: Path) -> None:
    path = folder / "cameras.xml"
    path.write_text(path.read_text().replace('type="frame"', 'type="fisheye"'))


_SIDECAR = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xcr:Coordinates="absolute" xcr:DistortionModel="brown4t2" xcr:FocalLength35mm="{focal}" xcr:Skew="0"
 xcr:AspectRatio="1" xcr:PrincipalPointU="0.01" xcr:PrincipalPointV="-0.02"
 xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#"><xcr:Rotation>{rotation}</xcr:Rotation>
<xcr:Position>{position}</xcr:Position><xcr:DistortionCoeficients>0.05 -0.01 0 {k4} 0.001 0</xcr:DistortionCoeficients>
</rdf:Description></rdf:RDF></x:xmpmeta>
"""


def _sidecars(folder: Path) -> None:
    """RealityCapture's other way to write the same cameras."""
    (folder / "registration.csv").unlink()
    for index, camera in enumerate(_cameras("square")):
        content = _SIDECAR.format(
            focal=36 * camera.intrinsics[0, 0] / camera.width,
            rotation=" ".join(map(str, camera.camera_from_world[:3, :3].ravel())),
            position=" ".join(map(str, camera.centre)),
            k4=0.001 * index,
        )
        (folder / "images" / f"{index:06d}.xmp").write_text(content)


_MORE: dict[str, tuple[Callable[[Path], None], ...]] = {
    "colmap": (_colmap_as_text, _colmap_with_distortion),
    "transforms": (_transforms_with_distortion,),
    "metashape": (_metashape_with_distortion, _metashape_fisheye),
    "reality_capture": (_sidecars, _sidecars),
}


def _depth_templates(root: Path) -> list[Template]:
    """An IDR scene with each kind of depth."""
    from PIL import Image

    idr = next(reader for reader in READERS if reader.name == "idr")
    cameras = _cameras("pinhole")
    templates = []
    for kind in ("sparse.npz", "cloud.ply", "ascii.ply", "maps"):
        folder = root / f"depth_{kind}"
        idr.write(folder, _views(idr, with_masks=True), world_from_unit(), _points())
        if kind.endswith(".ply"):
            (folder / kind).write_bytes(_ply(binary=kind == "cloud.ply"))
        if kind == "maps":
            (folder / kind).mkdir()
            values = np.linspace(1.0, 2.0, cameras[0].height * cameras[0].width)
            depth = values.reshape(cameras[0].height, cameras[0].width)
            np.save(folder / kind / "000000.npy", depth.astype(np.float32))
            Image.fromarray((depth * 1000).astype(np.uint16)).save(folder / kind / "000001.png")
            (folder / kind / "scale.txt").write_text("0.001\n")
            np.save(folder / kind / "000002.npy", depth)
        templates.append(Template(folder, "idr", kind))
    return templates


def _exr_templates(root: Path) -> list[Template]:
    """An IDR scene with depth maps of each compression, in lines and in tiles."""
    import OpenEXR

    idr = next(reader for reader in READERS if reader.name == "idr")
    height, width = _cameras("pinhole")[0].height, _cameras("pinhole")[0].width
    values = np.linspace(1.0, 2.0, height * width, dtype=np.float32).reshape(height, width)
    templates = []
    for number, kinds in enumerate((("NO", "RLE", "ZIPS"), ("ZIP", "PIZ", "PXR24"), ("B44", "DWAA", "ZIP"))):
        folder = root / f"exr_{number}"
        idr.write(folder, _views(idr, with_masks=True), world_from_unit(), None)
        (folder / "maps").mkdir()
        for index, kind in enumerate(kinds):
            header = {"compression": getattr(OpenEXR, f"{kind}_COMPRESSION"), "type": OpenEXR.scanlineimage}
            channels = {"Z": values if index else values.astype(np.float16)}
            if (number, index) == (2, 2):
                header |= {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
                channels |= {"R": values, "G": values}
            OpenEXR.File(header, channels).write(str(folder / "maps" / f"{index:06d}.exr"))
        templates.append(Template(folder, "idr", "maps"))
    return templates


def _ply(binary: bool) -> bytes:
    import trimesh

    sparse = _points()
    assert sparse.colors is not None
    cloud = trimesh.PointCloud(sparse.points, colors=np.round(255 * sparse.colors).astype(np.uint8))
    data = cloud.export(file_type="ply", encoding="binary" if binary else "ascii")
    return data if isinstance(data, bytes) else data.encode()
