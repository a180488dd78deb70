"""Lenses of Metashape's sensors (Metashape manual, appendix "Camera models").

With x = X / Z, y = Y / Z, r^2 = x^2 + y^2 for frame cameras, and x, y scaled by arctan(r) / r for fisheye ones:

    x' = x (1 + K1 r^2 + K2 r^4 + K3 r^6 + K4 r^8) + P1 (r^2 + 2 x^2) + 2 P2 x y
    y' = y (1 + K1 r^2 + K2 r^4 + K3 r^6 + K4 r^8) + P2 (r^2 + 2 y^2) + 2 P1 x y
    u = w / 2 + cx + x' f + x' B1 + y' B2
    v = h / 2 + cy + y' f

The centre of the first pixel is (0.5, 0.5), as here. Metashape's P1 is OpenCV's p2, and the other way round.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from dvr_cli.errors import SceneError
from dvr_cli.scenes.lenses import lens
from dvr_cli.scenes.polynomial_lens import polynomial_lens
from dvr_cli.scenes.readers.text_files import finite_numbers, whole_number
from dvr_cli.scenes.views import Camera, View

LARGEST_SKEW_LEFT_OUT = 0.5
"""Pixels at the image's edge; no camera model with distortion has a place for B2."""
PARAMETERS = ("f", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4")


@dataclass(frozen=True)
class Sensor:
    """One calibrated lens."""

    lens: Any
    """A `pycolmap.Camera` without skew."""
    skew: float
    """B2, pixels, that is to be added to the pinhole camera; 0 for lenses with distortion."""


def read_sensor(element: Element | None, number: str | None, camera_path: Path, notes: list[str]) -> Sensor:
    """The lens of a sensor; what is left out is noted. SceneError without a calibration that can be used."""
    where = f"{camera_path.name}: sensor {str(number)[:20]}"
    calibration = None if element is None else _calibration(element)
    if element is None or calibration is None:
        raise SceneError(
            f"{where} has no calibration with a focal length f.\nAlign the photographs with Metashape 1.2 or later and "
            "export the cameras again."
        )
    kind = calibration.get("type") or element.get("type") or "frame"
    width, height = _size(calibration, element, where)
    values = {name: _value(calibration, name, where) for name in PARAMETERS}
    if kind not in ("frame", "fisheye") or values["p3"] or values["p4"]:
        raise SceneError(
            f"{where} is of the type {kind[:40]!r} with P3 = {values['p3']:.4g}, P4 = {values['p4']:.4g}: expected "
            "frame or fisheye with K1 to K4, P1, P2 alone.\nExport undistorted photographs with their cameras instead."
        )
    focal = (values["f"] + values["b1"], values["f"])
    centre = (width / 2 + values["cx"], height / 2 + values["cy"])
    radial = [values[name] for name in ("k1", "k2", "k3", "k4")]
    if kind == "fisheye":
        base = [*focal, *centre, *radial[:2], values["p2"], values["p1"], *radial[2:], 0.0, 0.0]
        taken_with = lens("THIN_PRISM_FISHEYE", width, height, base, where)
    else:
        taken_with = polynomial_lens((width, height), focal, centre, radial, (values["p2"], values["p1"]), where)
    if taken_with.model_name == "PINHOLE":
        return Sensor(taken_with, values["b2"])
    _note_skew(values, height, where, notes)
    return Sensor(taken_with, 0.0)


def with_skew(view: View, sensor: Sensor) -> View:
    """The view with the sensor's skew in its pinhole camera, for the size that the photograph has."""
    if not sensor.skew:
        return view
    intrinsics = view.camera.intrinsics.copy()
    intrinsics[0, 1] = sensor.skew * view.camera.width / sensor.lens.width
    if abs(intrinsics[0, 1]) > intrinsics[0, 0]:
        raise SceneError(
            f"{view.name}: skew B2 of {sensor.skew:.4g} pixels is that of no lens.\nExport the cameras again."
        )
    return replace(view, camera=replace(view.camera, intrinsics=intrinsics))


def _note_skew(values: dict[str, float], height: int, where: str, notes: list[str]) -> None:
    """A note for a skew too small to matter; SceneError for one that does."""
    if not values["b2"]:
        return
    shift = abs(values["b2"]) * height / 2 / max(abs(values["f"]), 1e-6)
    if not shift <= LARGEST_SKEW_LEFT_OUT:
        raise SceneError(
            f"{where}: the skew B2 = {values['b2']:.4g} moves pixels by {shift:.2f} at the image's edge, and the lens "
            "has distortion: the two cannot be undone together.\n"
            "Calibrate without B2, or export undistorted photographs with their cameras."
        )
    notes.append(f"{where}: the skew B2 is left out; it moves pixels by at most {shift:.2f}")


def _calibration(element: Element) -> Element | None:
    """The adjusted calibration, else any; None without one that has f."""
    found = [item for item in element.iterfind("calibration") if item.find("f") is not None]
    return next((item for item in found if item.get("class") == "adjusted"), found[0] if found else None)


def _size(calibration: Element, element: Element, where: str) -> tuple[int, int]:
    resolution = calibration.find("resolution")
    resolution = element.find("resolution") if resolution is None else resolution
    attributes = {} if resolution is None else resolution.attrib
    width, height = (whole_number(attributes.get(name, ""), 1_000_000, name, where) for name in ("width", "height"))
    return width, height


def _value(calibration: Element, name: str, where: str) -> float:
    found = calibration.find(name)
    if found is None:
        return 0.0
    return finite_numbers([(found.text or "").strip()], f"{where}, {name}")[0]


def add_sensor(sensors: Element, number: str, camera: Camera) -> None:
    """A sensor for a pinhole camera: B1 and B2 hold what sets its two focal lengths and its axes apart."""
    size = {"width": str(camera.width), "height": str(camera.height)}
    sensor = SubElement(sensors, "sensor", id=number, label=f"sensor {number}", type="frame")
    SubElement(sensor, "resolution", size)
    calibration = SubElement(sensor, "calibration", {"type": "frame", "class": "adjusted"})
    SubElement(calibration, "resolution", size)
    intrinsics = np.asarray(camera.intrinsics)
    values = {
        "f": intrinsics[1, 1],
        "cx": intrinsics[0, 2] - camera.width / 2,
        "cy": intrinsics[1, 2] - camera.height / 2,
        "b1": intrinsics[0, 0] - intrinsics[1, 1],
        "b2": intrinsics[0, 1],
    }
    for name, value in values.items():
        SubElement(calibration, name).text = repr(float(value))
