"""Cameras that Agisoft Metashape exports as XML (File > Export > Export Cameras).

A camera's `transform` takes its own frame, which looks along +z with y down, to the chunk's; the `transform` of the
component (rotation, translation, scale) takes the chunk's frame to the world. Lenses: `metashape_sensors`. `region` is
the box that Metashape reconstructs in, in the chunk's frame.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.files import write_text
from dvr_cli.scenes.lenses import posed_view, rigid_motion
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.readers.files import FoundScene, path_inside, selected_indices
from dvr_cli.scenes.readers.metashape_sensors import Sensor, add_sensor, read_sensor, with_skew
from dvr_cli.scenes.readers.missing import missing_note
from dvr_cli.scenes.readers.photographs import Photographs, photographs_of
from dvr_cli.scenes.readers.text_files import finite_numbers
from dvr_cli.scenes.readers.xml_files import read_xml
from dvr_cli.scenes.views import SparseDepth, View
from dvr_cli.scenes.writing import WritableView

CAMERA_FILE = "cameras.xml"
HEAD_BYTES = 2000
MAX_CANDIDATES = 20


def find(root: Path) -> Path | None:
    """cameras.xml, or another XML file in the folder that begins like an export of Metashape; None without one."""
    try:
        candidates = [root / CAMERA_FILE, *sorted(root.glob("*.xml"))[:MAX_CANDIDATES]]
        return next((path for path in candidates if accepts(path)), None)
    except OSError:
        return None


def accepts(path: Path) -> bool:
    """True for an XML file that begins like an export of Metashape."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except (OSError, ValueError):
        return False
    return path.suffix.lower() == ".xml" and b"<document" in head and b"<chunk" in head


def read(root: Path, camera_path: Path, view_range: str | None) -> FoundScene:
    """Views sorted by name and the region of interest; SceneError for anything that cannot be used."""
    chunks = read_xml(camera_path).findall("chunk")
    if not chunks:
        raise SceneError(f"{camera_path} holds no chunk.\nExport the cameras again: File > Export > Export Cameras.")
    chunk, notes = chunks[0], []
    if len(chunks) > 1:
        notes.append(f"{camera_path.name} holds {len(chunks)} chunks, of which the first is read")
    sensors = {element.get("id"): element for element in chunk.iterfind("sensors/sensor")}
    cameras = _usable_cameras(chunk, camera_path, notes)
    photographs = photographs_of(root)
    named = _with_photographs(cameras, photographs, camera_path, notes)
    component = named[0][1].get("component_id")
    world_from_chunk = _world_from_chunk(chunk, component, camera_path)
    chosen = [named[index] for index in selected_indices(view_range, len(named))]
    parsed: dict[str | None, Sensor] = {}
    views = []
    for name, element in chosen:
        key = element.get("sensor_id")
        if key not in parsed:
            parsed[key] = read_sensor(sensors.get(key), key, camera_path, notes)
        views.append(_view(name, element, parsed[key], world_from_chunk, photographs, camera_path))
    region = _region(chunk, component, world_from_chunk, camera_path)
    source = "" if region is None else f"region in {camera_path.name}"
    all_names = tuple(name for name, _ in named)
    return FoundScene(tuple(views), region, source, all_names=all_names, notes=tuple(notes))


def _usable_cameras(chunk: Element, camera_path: Path, notes: list[str]) -> list[Element]:
    """Aligned, enabled cameras of the largest component, in groups or not; what is left out is noted."""
    every = list(chunk.iterfind("cameras//camera"))
    enabled = [camera for camera in every if camera.get("enabled", "true").lower() not in ("false", "0")]
    aligned = [camera for camera in enabled if camera.find("transform") is not None]
    counts = Counter(camera.get("component_id") for camera in aligned)
    if not counts:
        raise SceneError(
            f"{camera_path} has {count_of(len(every), 'camera')}, none of them enabled and aligned.\n"
            "Align the photographs in Metashape and export the cameras again."
        )
    # Components are not registered to one another. Ties go to the one that comes first.
    largest = max(counts, key=lambda component: counts[component])
    usable = [camera for camera in aligned if camera.get("component_id") == largest]
    kinds = ((every, enabled, "disabled"), (enabled, aligned, "not aligned"), (aligned, usable, "in another component"))
    for before, after, what in kinds:
        kept = {id(camera) for camera in after}
        dropped = [camera.get("label", "?") for camera in before if id(camera) not in kept]
        if dropped:
            notes.append(f"{count_of(len(dropped), 'camera is', 'cameras are')} {what} and left out: {listed(dropped)}")
    return usable


def _with_photographs(
    cameras: list[Element], photographs: Photographs, camera_path: Path, notes: list[str]
) -> list[tuple[str, Element]]:
    """Cameras by the name of their photograph, sorted; SceneError if two share one, or none has one."""
    found: dict[str, Element] = {}
    missing = []
    for camera in cameras:
        label = camera.get("label", "")
        name = photographs.find(label, f"{camera_path}")
        if name is None:
            missing.append(label)
        elif name in found:
            raise SceneError(
                f"{camera_path}: two cameras belong to the photograph {name}.\n"
                "Give photographs of different folders different names, and export again."
            )
        else:
            found[name] = camera
    if not found:
        raise SceneError(
            f"{camera_path}: there is no photograph in {photographs.folder} for any of "
            f"{count_of(len(cameras), 'camera')}, such as {missing[0][:80]!r}.\n"
            "Put the photographs into images/ beside the file."
        )
    notes.extend(missing_note(missing, len(cameras), camera_path))
    return sorted(found.items())


def _view(
    name: str,
    element: Element,
    sensor: Sensor,
    world_from_chunk: Float[np.ndarray, "4 4"],
    photographs: Photographs,
    camera_path: Path,
) -> View:
    where = f"{camera_path.name}: camera {name}"
    chunk_from_camera = np.array(_numbers(element, "transform", 16, where)).reshape(4, 4)
    # The scale of the world moves the camera; its own axes stay of length one.
    scale = np.cbrt(np.linalg.det(world_from_chunk[:3, :3]))
    world_from_camera = world_from_chunk @ rigid_motion(chunk_from_camera, where)
    rotation = world_from_camera[:3, :3].T / scale
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = rotation
    camera_from_world[:3, 3] = -rotation @ world_from_camera[:3, 3]
    path = path_inside(photographs.folder, name, f"{camera_path}")
    return with_skew(posed_view(name, path, sensor.lens, camera_from_world, where), sensor)


def _in_component(chunk: Element, component: str | None, tag: str) -> Element | None:
    """An element of the component, or of the chunk: older versions have it there."""
    places = [item for item in chunk.iterfind("components/component") if item.get("id") == component]
    return next((found for place in (*places, chunk) if (found := place.find(tag)) is not None), None)


def _world_from_chunk(chunk: Element, component: str | None, camera_path: Path) -> Float[np.ndarray, "4 4"]:
    """Similarity; the identity where the chunk has no reference."""
    element = _in_component(chunk, component, "transform")
    matrix = np.eye(4)
    if element is None:
        return matrix
    where = f"{camera_path.name}: transform of the component"
    if element.find("rotation") is not None:
        matrix[:3, :3] = np.array(_numbers(element, "rotation", 9, where)).reshape(3, 3)
    if element.find("translation") is not None:
        matrix[:3, 3] = _numbers(element, "translation", 3, where)
    matrix = rigid_motion(matrix, where)
    scale = _numbers(element, "scale", 1, where)[0] if element.find("scale") is not None else 1.0
    if not 1e-9 < scale < 1e9:
        raise SceneError(f"{where}: scale {scale:.4g} is not between 1e-9 and 1e9.\nExport the cameras again.")
    matrix[:3, :3] *= scale
    return matrix


def _region(
    chunk: Element, component: str | None, world_from_chunk: Float[np.ndarray, "4 4"], camera_path: Path
) -> Float[np.ndarray, "4 4"] | None:
    """`world_from_unit` of the ball around the box; None where there is no box, or an empty one."""
    element = _in_component(chunk, component, "region")
    if element is None:
        return None
    where = f"{camera_path.name}: region"
    centre, size = (np.array(_numbers(element, tag, 3, where)) for tag in ("center", "size"))
    scale = np.cbrt(np.linalg.det(world_from_chunk[:3, :3]))
    radius = scale * np.linalg.norm(np.clip(size, -1e15, 1e15)) / 2
    if not (0 < radius < 1e15 and np.abs(centre).max() < 1e15):
        return None
    world_from_unit = radius * np.eye(4)
    world_from_unit[:3, 3] = world_from_chunk[:3, :3] @ centre + world_from_chunk[:3, 3]
    world_from_unit[3, 3] = 1
    return world_from_unit


def _numbers(element: Element, tag: str, count: int, where: str) -> list[float]:
    found = element.find(tag)
    words = (found.text or "").split(None, count) if found is not None else []
    if len(words) != count:
        raise SceneError(f"{where}: expected {count} numbers in {tag}, found {len(words)}.\nExport the cameras again.")
    return finite_numbers(words, f"{where}, {tag}")


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write a scene in this layout: images/, masks/NAME.png, cameras.xml. The format has no place for points.

    The region is the cube within the ball of interest, so that reading it gives the ball again.
    """
    document = Element("document", version="2.0.0")
    chunk = SubElement(document, "chunk", label="Chunk 1", enabled="true")
    sensors = SubElement(chunk, "sensors", next_id=str(len(views)))
    component = SubElement(SubElement(chunk, "components", next_id="1", active_id="0"), "component", id="0")
    cameras = SubElement(chunk, "cameras", next_id=str(len(views)), next_group_id="0")
    if world_from_unit is not None:
        radius = np.cbrt(np.linalg.det(world_from_unit[:3, :3]))
        region = SubElement(component, "region")
        SubElement(region, "center").text = _text(world_from_unit[:3, 3])
        SubElement(region, "size").text = _text(np.full(3, 2 * radius / np.sqrt(3)))
        SubElement(region, "R").text = _text(np.eye(3))
    for index, view in enumerate(views):
        add_sensor(sensors, str(index), view.camera)
        label = Path(view.name).with_suffix("").as_posix()
        camera = SubElement(cameras, "camera", id=str(index), sensor_id=str(index), component_id="0", label=label)
        SubElement(camera, "transform").text = _text(view.camera.world_from_camera)
        view.save_image(folder / "images" / view.name)
        if view.has_mask:
            view.save_mask(folder / "masks" / f"{view.name}.png")
    write_text(
        folder / CAMERA_FILE, '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(document, encoding="unicode")
    )


def _text(values: Float[np.ndarray, "..."]) -> str:
    return " ".join(repr(float(value)) for value in values.ravel())
