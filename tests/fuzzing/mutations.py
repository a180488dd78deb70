"""Ways to damage a file: blind ones for any bytes, and ones that know text, JSON, XML, NumPy archives and images.

Every mutation is a function of a random generator and the bytes of a file; the same generator gives the same damage.
"""

import io
import json
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import numpy as np

Generator = np.random.Generator
Mutation = Callable[[Generator, bytes], bytes]

LONGEST_SEARCHED = 50_000
LONGEST = 4 << 20
"""Bytes; mutations of mutations would grow without end."""
NUMBERS = (
    *("0", "-0", "-1", "1e308", "-1e308", "1e-308", "1e400", "nan", "NaN", "-inf", "Infinity", "99999999999999999999"),
    *("2147483648", "-2147483649", "4294967296", "0x10", "1_000", "1.5", "", "٣", "1" * 5000, "1e", "--1", "true"),
)
NAMES = (
    *("../secret.png", "../../secret.png", "/etc/passwd", "..\\secret.png", "images/../../secret.png", ".", "..", ""),
    *("a" * 300, "a" * 100_000, "name\0.png", "nul", "~/secret.png", "file:///etc/passwd", "\udcff.png", "ñ\u202e.png"),
    *("000000.png/", "000000.png/x.png", "$(touch x).png", "%s%n.png", "a/" * 3000 + "b.png", "\n", "000001.png"),
)
FLOATS = (0.0, -0.0, np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324, 1e154, -1.0, 1e-12, 1e20)
ODD_VALUES: tuple[Any, ...] = (None, True, [], {}, "", "x", -1, 0, 1e308, 2**70, [[]], {"a": [1]}, [None] * 16)


def mutate(generator: Generator, name: str, data: bytes) -> bytes:
    """The bytes of a file after one to three mutations that suit its name.

    In most cases all of them leave the file readable: the checks behind the parser are then reached.
    """
    fitting = _fitting(name) if generator.random() < 0.4 else _readable(name)
    for _ in range(int(generator.integers(1, 4))):
        mutation = fitting[int(generator.integers(len(fitting)))]
        try:
            data = mutation(generator, data)
        except Exception:
            # What an earlier mutation left cannot be parsed any more: blind damage always works.
            data = flip_bits(generator, data)
    return data[:LONGEST]


def _readable(name: str) -> tuple[Mutation, ...]:
    """Mutations by suffix that change what a file says and leave its form alone."""
    by_suffix: dict[str, tuple[Mutation, ...]] = {
        ".npz": (change_arrays,),
        ".npy": (change_array,),
        ".json": (change_json,),
        ".xml": (change_xml,),
        ".xmp": (change_xml,),
        ".png": (other_image,),
        ".jpg": (other_image,),
    }
    lines = (replace_number, replace_number, replace_number, swap_words, change_lines, replace_file_name, replace_word)
    text = dict.fromkeys((".txt", ".csv", ".out"), lines)
    return (by_suffix | text).get(PurePosixPath(name).suffix.lower(), (overwrite_number,))


def _fitting(name: str) -> tuple[Mutation, ...]:
    """All mutations by suffix, blind ones too."""
    suffix = PurePosixPath(name).suffix.lower()
    more: tuple[Mutation, ...] = (doctype, *TEXT) if suffix in (".xml", ".xmp") else ()
    if suffix in (".json", ".txt", ".csv", ".out"):
        more = TEXT
    if suffix == ".png":
        more = (png_header, png_header)
    return (*BLIND, *more, *_readable(name))


def flip_bits(generator: Generator, data: bytes) -> bytes:
    changed = bytearray(data or b"\0")
    for position in generator.integers(len(changed), size=int(generator.integers(1, 9))):
        changed[position] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def truncate(generator: Generator, data: bytes) -> bytes:
    return data[: int(generator.integers(len(data) + 1))]


def duplicate_chunk(generator: Generator, data: bytes) -> bytes:
    start, end = _span(generator, data)
    return data[:end] + data[start:end] * int(generator.integers(1, 50)) + data[end:]


def delete_chunk(generator: Generator, data: bytes) -> bytes:
    start, end = _span(generator, data)
    return data[:start] + data[end:]


def random_bytes(generator: Generator, data: bytes) -> bytes:
    start, end = _span(generator, data)
    return data[:start] + generator.bytes(end - start) + data[end:]


def overwrite_number(generator: Generator, data: bytes) -> bytes:
    """A float or a count that is huge, negative or none, at a multiple of four bytes."""
    kind = int(generator.integers(3))
    if kind == 0:
        packed = struct.pack("<d", FLOATS[int(generator.integers(len(FLOATS)))])
    else:
        packed = struct.pack(
            "<Q" if kind == 1 else "<I", int(generator.choice([0, 1, 2, 255, 2**20, 2**31 - 1, 2**32 - 1]))
        )
    position = 4 * int(generator.integers(len(data) // 4 + 1))
    return data[:position] + packed + data[position + len(packed) :]


def _span(generator: Generator, data: bytes) -> tuple[int, int]:
    start, end = sorted(generator.integers(len(data) + 1, size=2).tolist())
    return start, min(end, start + 400)


def replace_number(generator: Generator, data: bytes) -> bytes:
    """A number that is scaled, or an odd one."""
    if generator.random() < 0.5:
        matches = _matches(generator, data, rb"[-+]?\d[\d.eE+-]{0,40}")
        match = matches[int(generator.integers(len(matches)))]
        return data[: match.start()] + repr(_scaled(generator, float(match[0]))).encode() + data[match.end() :]
    return _replace(generator, data, rb"[-+]?\d[\d.eE+-]{0,40}", NUMBERS)


def _scaled(generator: Generator, value: float) -> float:
    """A number that is wrong and plausible."""
    return value * float(generator.choice([-1.0, 0.5, 2.0, 1.001, 1e3, 1e-3, 1e6])) + float(generator.choice([0, 0, 1]))


def replace_word(generator: Generator, data: bytes) -> bytes:
    return _replace(generator, data, rb"[^\s,\"<>=]{1,200}", NAMES)


def replace_file_name(generator: Generator, data: bytes) -> bytes:
    return _replace(generator, data, rb"[^\s,\"<>=]{0,60}\d{6}[^\s,\"<>=]{0,60}", NAMES)


def _replace(generator: Generator, data: bytes, pattern: bytes, values: tuple[str, ...]) -> bytes:
    matches = _matches(generator, data, pattern)
    match = matches[int(generator.integers(len(matches)))]
    value = values[int(generator.integers(len(values)))].encode("utf-8", "surrogateescape")
    return data[: match.start()] + value + data[match.end() :]


def _matches(generator: Generator, data: bytes, pattern: bytes) -> list[re.Match[bytes]]:
    """Where a pattern fits, in a part of the data if they are long: this is to damage files, not to be slow itself."""
    start = int(generator.integers(len(data) - LONGEST_SEARCHED)) if len(data) > LONGEST_SEARCHED else 0
    return list(re.compile(pattern).finditer(data, start, start + LONGEST_SEARCHED))


def swap_words(generator: Generator, data: bytes) -> bytes:
    words = re.split(rb"([\s,]+)", data)
    first, second = generator.integers(len(words), size=2)
    words[first], words[second] = words[second], words[first]
    return b"".join(words)


def change_lines(generator: Generator, data: bytes) -> bytes:
    """One line deleted, doubled many times, or in another place."""
    lines = data.split(b"\n")
    line = lines.pop(int(generator.integers(len(lines))))
    place = int(generator.integers(len(lines) + 1))
    lines[place:place] = [line] * int(generator.choice([0, 1, 2, 200]))
    return b"\n".join(lines)


def nest_deeply(generator: Generator, data: bytes) -> bytes:
    position = int(generator.integers(len(data) + 1))
    brackets = (b"[", b"{", b"(", b'{"a":', b"<a>", b"<!--", b'"')[int(generator.integers(7))]
    return data[:position] + brackets * int(generator.choice([1, 100, 100_000])) + data[position:]


def change_encoding(generator: Generator, data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    choices = (
        *(b"\xef\xbb\xbf" + data, text.encode("utf-16"), b"\xff\xfe" + data),
        *(data.replace(b"\n", b"\r\n"), b"\0" + data),
    )
    return choices[int(generator.integers(len(choices)))]


def change_json(generator: Generator, data: bytes) -> bytes:
    """One value anywhere in the document gets another type, an odd number or an odd name; or it goes, or doubles."""
    document = json.loads(data)
    holders: list[tuple[Any, Any]] = []
    _collect(document, holders)
    holder, key = holders[int(generator.integers(len(holders)))]
    kind = int(generator.integers(8))
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.extend([holder[key]] * int(generator.choice([1, 5, 500])))
    elif kind == 2:
        other, other_key = holders[int(generator.integers(len(holders)))]
        holder[key] = json.loads(json.dumps(other[other_key]))
    elif kind == 3:
        holder[key] = NAMES[int(generator.integers(len(NAMES)))]
    elif kind == 4 and isinstance(holder[key], float):
        holder[key] = _scaled(generator, holder[key])
    elif kind in (4, 5):
        holder[key] = FLOATS[int(generator.integers(len(FLOATS)))]
    else:
        holder[key] = ODD_VALUES[int(generator.integers(len(ODD_VALUES)))]
    return json.dumps(document).encode("utf-8", "surrogateescape")


def _collect(node: Any, holders: list[tuple[Any, Any]]) -> None:
    items = list(node.items() if isinstance(node, dict) else enumerate(node)) if isinstance(node, dict | list) else []
    for key, value in items:
        holders.append((node, key))
        _collect(value, holders)


def change_xml(generator: Generator, data: bytes) -> bytes:
    """One element loses or doubles a child, or gets other text, another attribute or another name."""
    tree = ElementTree.fromstring(data)
    elements = list(tree.iter())
    element = elements[int(generator.integers(len(elements)))]
    kind = int(generator.integers(7))
    value = (NUMBERS + NAMES)[int(generator.integers(len(NUMBERS) + len(NAMES)))].replace("\0", "0")
    if kind == 0 and len(element):
        element.remove(element[int(generator.integers(len(element)))])
    elif kind == 1 and len(element):
        element.extend([element[int(generator.integers(len(element)))]] * int(generator.choice([1, 5, 300])))
    elif kind == 2 and element.attrib:
        element.attrib[sorted(element.attrib)[int(generator.integers(len(element.attrib)))]] = value
    elif kind == 3 and element.attrib:
        del element.attrib[sorted(element.attrib)[int(generator.integers(len(element.attrib)))]]
    elif kind == 4:
        element.tag = elements[int(generator.integers(len(elements)))].tag
    elif element.text and element.text.split():
        words = element.text.split()
        place = int(generator.integers(len(words)))
        words[place] = value if generator.random() < 0.5 else repr(_scaled(generator, float(words[place])))
        element.text = " ".join(words)
    else:
        element.text = value
    return ElementTree.tostring(tree, encoding="utf-8")


def doctype(generator: Generator, data: bytes) -> bytes:
    """Entities that expand to gigabytes, or that name a file elsewhere."""
    lol = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE d [<!ENTITY l0 "lol">{lol}]>'
    external = '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    declaration, entity = ((bomb, b"&l11;"), (external, b"&x;"))[int(generator.integers(2))]
    body = re.sub(rb"^<\?xml.*?\?>", b"", data)
    texts = list(re.finditer(rb">([^<>]+)<", body))
    match = texts[int(generator.integers(len(texts)))]
    return declaration.encode() + body[: match.start(1)] + entity + body[match.end(1) :]


def change_arrays(generator: Generator, data: bytes) -> bytes:
    """One array of an archive changed, renamed or left out."""
    with np.load(io.BytesIO(data), allow_pickle=True) as stored:
        arrays = dict(stored)
    name = sorted(arrays)[int(generator.integers(len(arrays)))]
    kind = int(generator.integers(8))
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        others = (*sorted(arrays), "world_mat_99999999", "x" * 1000, "../x")
        arrays[others[int(generator.integers(len(others)))]] = arrays[name]
    else:
        arrays[name] = _changed(generator, arrays[name])
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def change_array(generator: Generator, data: bytes) -> bytes:
    array = np.load(io.BytesIO(data), allow_pickle=True)
    stream = io.BytesIO()
    np.save(stream, _changed(generator, array))
    return stream.getvalue()


def _changed(generator: Generator, array: np.ndarray) -> np.ndarray:
    """Another value, shape or type."""
    kind = int(generator.integers(12))
    if kind < 6 and array.size and array.dtype.kind in "fiu":
        changed = array.astype(np.float64) if array.dtype.kind == "f" else array.copy()
        values = FLOATS if array.dtype.kind == "f" else (0, -1, 2**31, 255, 10**6, 2**62)
        place = int(generator.integers(changed.size))
        if changed.dtype.kind == "f" and kind < 3:
            changed.reshape(-1)[place] = _scaled(generator, float(changed.reshape(-1)[place]))
            return changed
        with np.errstate(all="ignore"):
            changed.reshape(-1)[place] = np.array(values[int(generator.integers(len(values)))]).astype(changed.dtype)
        return changed
    makers: tuple[Callable[[], np.ndarray], ...] = (
        lambda: array.astype(object),
        lambda: array.astype(str),
        lambda: array.astype(np.complex128),
        lambda: array.reshape(-1),
        lambda: array[..., None],
        lambda: array[:0],
        lambda: np.zeros(()),
        lambda: np.zeros_like(array),
        lambda: array.T,
        lambda: -array,
        lambda: array.astype(np.float16),
        lambda: np.repeat(array, 2, axis=0),
        lambda: array.astype(">f8"),
        lambda: np.zeros((0, 1_000_000_000)),
    )
    with np.errstate(all="ignore"):
        return makers[int(generator.integers(len(makers)))]()


def other_image(generator: Generator, data: bytes) -> bytes:
    """A valid image of another kind or size."""
    from PIL import Image

    size = ((16, 16), (1, 1), (16, 12), (12, 16), (3000, 2), (8, 6), (64, 48))[int(generator.integers(7))]
    mode = ("RGB", "L", "RGBA", "P", "1", "I;16", "CMYK", "LA", "F", "YCbCr")[int(generator.integers(10))]
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = int(generator.integers(0, 10))
    kind = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM")[int(generator.integers(7))]
    image = Image.new(mode, size)
    if image.mode not in ("RGB", "L", "CMYK") and kind == "JPEG":
        image = image.convert("RGB")
    extra = {"exif": exif} if kind in ("PNG", "JPEG", "TIFF") else {}
    image.save(stream, format=kind, **extra)
    return stream.getvalue()


def png_header(generator: Generator, data: bytes) -> bytes:
    """A PNG header that claims another size, with a checksum that fits."""
    width, height = generator.choice([0, 1, 16, 13_000, 65_535, 2**31 - 1], size=2).tolist()
    depth, color = int(generator.choice([1, 8, 16, 77])), int(generator.choice([0, 2, 3, 4, 6, 9]))
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(generator.integers(3)))
    return data[:8] + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


BLIND: tuple[Mutation, ...] = (flip_bits, truncate, duplicate_chunk, delete_chunk, random_bytes, overwrite_number)
TEXT: tuple[Mutation, ...] = (
    *(replace_number, replace_number, replace_number, replace_word, replace_file_name, replace_file_name),
    *(swap_words, change_lines, change_lines, nest_deeply, change_encoding),
)
