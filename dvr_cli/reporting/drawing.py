"""Curves as inline SVG. Colours are classes (`family-0` ...), so that the page's light and dark themes choose them."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from dvr_cli.reporting.axes import Axis, axis_for
from dvr_cli.reporting.curves import Curve, CurveLine, CurvePoint
from dvr_cli.reporting.measured import MeasuredRow

FAMILY_COLOURS = 8
"""Families beyond share colours with the first ones; markers differ with another period."""

_WIDTH, _HEIGHT = 620, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 24, 18, 56
_CHARACTER, _LINE = 6.4, 13
_MARKERS = (
    "M0-4.6A4.6 4.6 0 1 1 0 4.6A4.6 4.6 0 1 1 0-4.6Z",
    "M-4-4H4V4H-4Z",
    "M0-5.4L5 4H-5Z",
    "M0-5.6L5.6 0L0 5.6L-5.6 0Z",
    "M0 5.4L5-4H-5Z",
    "M-4.6-1.6H-1.6V-4.6H1.6V-1.6H4.6V1.6H1.6V4.6H-1.6V1.6H-4.6Z",
    "M0-5.4L5.2-1.6L3.2 4.6H-3.2L-5.2-1.6Z",
)


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "_Box") -> float:
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height if width > 0 and height > 0 else 0.0


def marker(family: int) -> str:
    """The SVG path of a family's marker, around the origin."""
    return _MARKERS[family % len(_MARKERS)]


def draw_curve(curve: Curve, families: Sequence[str], identifier: str) -> str:
    """An SVG element of a curve; `families` gives the order of colours, `identifier` is unique within the page."""
    points = [point for line in curve.lines for point in line.points]
    x = axis_for([point.x for point in points], _LEFT, _WIDTH - _RIGHT)
    y = axis_for([point.y for point in points], _HEIGHT - _BOTTOM, _TOP)
    title = f"{curve.y.heading} against {curve.x.heading}, {curve.title}"
    words = "; ".join(point.shown for point in points)
    parts = [
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-labelledby="{identifier}-title {identifier}-text">',
        f'<title id="{identifier}-title">{escape(title)}</title>',
        f'<desc id="{identifier}-text">{escape(words)}</desc>',
        *_grid(x, y, curve),
        *(_line(line, families.index(line.family), x, y) for line in curve.lines),
        *_labels(curve.lines, families, x, y),
        "</svg>",
    ]
    return "".join(parts)


def _grid(x: Axis, y: Axis, curve: Curve) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for place, text in x.ticks():
        parts.append(f'<path class="grid" d="M{place:.1f} {_TOP}V{bottom}"/>')
        parts.append(f'<text class="tick" x="{place:.1f}" y="{bottom + 17}" text-anchor="middle">{text}</text>')
    for place, text in y.ticks():
        parts.append(f'<path class="grid" d="M{_LEFT} {place:.1f}H{right}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{place + 4:.1f}" text-anchor="end">{text}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
    middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
    across = escape(_axis_name(curve.x, "←", "→", x))
    upwards = escape(_axis_name(curve.y, "←", "→", y))
    parts.append(f'<text class="name" x="{middle_x}" y="{_HEIGHT - 14}" text-anchor="middle">{across}</text>')
    turn = f"translate(16 {middle_y}) rotate(-90)"
    parts.append(f'<text class="name" transform="{turn}" text-anchor="middle">{upwards}</text>')
    return parts


def _axis_name(row: MeasuredRow, lower: str, higher: str, axis: Axis) -> str:
    unit = f" [{row.unit}]" if row.unit else ""
    name = row.heading[:1].upper() + row.heading[1:] + unit + (", logarithmic" if axis.logarithmic else "")
    if row.better == "neither":
        return name
    return f"{lower} better   {name}" if row.better == "lower" else f"{name}   better {higher}"


def _line(line: CurveLine, family: int, x: Axis, y: Axis) -> str:
    places = [(x.place(point.x), y.place(point.y)) for point in line.points]
    parts = [f'<g class="family-{family % FAMILY_COLOURS}">']
    if line.connected:
        path = "L".join(f"{across:.1f} {down:.1f}" for across, down in places)
        parts.append(f'<path class="line" d="M{path}"/>')
    for point, (across, down) in zip(line.points, places, strict=True):
        parts.append(
            f'<path class="mark" d="{marker(family)}" transform="translate({across:.1f} {down:.1f})">'
            f"<title>{escape(point.shown)}</title></path>"
        )
    return "".join([*parts, "</g>"])


def _labels(lines: Sequence[CurveLine], families: Sequence[str], x: Axis, y: Axis) -> list[str]:
    """Names beside the points, each at the first of some places where it covers nothing, or the least bad one."""
    taken = [_around(x.place(point.x), y.place(point.y)) for line in lines for point in line.points]
    parts = []
    for line in lines:
        family = families.index(line.family) % FAMILY_COLOURS
        for point in line.points:
            box, across, down = _free_place(point, x.place(point.x), y.place(point.y), taken, line.connected)
            taken.append(box)
            text = escape(_shortened(point.label))
            parts.append(f'<text class="label family-{family}" x="{across:.1f}" y="{down:.1f}">{text}</text>')
    return parts


def _around(across: float, down: float) -> _Box:
    return _Box(across - 5, down - 5, across + 5, down + 5)


def _free_place(
    point: CurvePoint, across: float, down: float, taken: Sequence[_Box], on_line: bool
) -> tuple[_Box, float, float]:
    width = _CHARACTER * len(_shortened(point.label))
    tried: list[tuple[float, int, _Box]] = []
    beside, centred = (across + 9, across - 9 - width), across - width / 2
    # On a line the way on is covered by the line itself, so labels go above or below.
    first = [(-14, centred), (14, centred)] if on_line else []
    for rise, left in [
        *first,
        *((rise, left) for rise in (0, -14, 14, -26, 26, -38, 38) for left in (*beside, centred)),
    ]:
        if (rise, left) != (0, centred):
            top = down + rise - _LINE / 2
            box = _Box(left, top, left + width, top + _LINE)
            outside = max(_LEFT - box.left, box.right - _WIDTH + 4, _TOP - box.top, box.bottom - _HEIGHT + _BOTTOM, 0)
            tried.append((sum(box.overlap(other) for other in taken) + 40 * outside, len(tried), box))
    box = min(tried, key=lambda entry: entry[:2])[2]
    return box, box.left, box.bottom - 3


def _shortened(label: str) -> str:
    return label if len(label) <= 28 else label[:27] + "…"
