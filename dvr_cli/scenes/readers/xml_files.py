"""XML files of strangers: no entities, no document types, a limited size, depth and number of elements."""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers.text_files import MAX_BYTES

MAX_DEPTH = 64
MAX_ELEMENTS = 1_000_000


class _Refused(Exception):
    """Why a document is not read on."""


def read_xml(path: Path, max_bytes: int = MAX_BYTES) -> Element:
    """The root element; names are without their prefix. SceneError for anything that is no plain XML."""
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise _Refused(f"it is larger than {max_bytes / 1e6:.0f} MB")
        return _parsed(content)
    except (OSError, _Refused, expat.ExpatError, ValueError, LookupError) as cause:
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else cause
        raise SceneError(
            f"{path} cannot be read as XML: {reason}.\nExpected the file as its program wrote it; export it again."
        ) from cause


def _parsed(content: bytes) -> Element:
    builder, parser = TreeBuilder(), expat.ParserCreate()
    depth = elements = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise _Refused(f"it has more than {MAX_ELEMENTS} elements, or more than {MAX_DEPTH} inside each other")
        builder.start(_local(name), {_local(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(name))

    def refuse(*_: object) -> None:
        # Entities are declared in a document type: they could grow without end, or name other files.
        raise _Refused("it declares a document type")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.buffer_text = True
    parser.Parse(content, True)
    return builder.close()


def _local(name: str) -> str:
    """The name without the prefix of its namespace."""
    return name.rpartition(":")[2]
