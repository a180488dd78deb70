"""`dvr formats`: which formats of scenes are read and written."""

from dvr_cli.commands.options import JsonOption
from dvr_cli.console import Output


def formats_command(as_json: JsonOption = False) -> None:
    """List the formats of scenes that dvr reads, and that dvr convert writes.

    A folder is read in the first format whose files it has, in this order; --format NAME chooses another.
    """
    from dvr_cli.scenes.readers.table import READERS

    cameras = {
        "pinhole": "any pinhole camera",
        "square": "one focal length in x and y",
        "centred": "one focal length, and the middle of the image",
    }
    rows = [
        {
            "name": reader.name,
            "layout": reader.layout,
            "programs": reader.title,
            "read": True,
            "written": True,
            "cameras": cameras[reader.needs],
        }
        for reader in READERS
    ]
    text = "\n".join(f"{row['name']:<17}{row['programs']}\n{'':<17}{row['layout']}" for row in rows)
    Output(as_json=as_json).result(
        f"{text}\n\nAll of them are read (--format NAME where more than one fits) and written (dvr convert --to NAME); "
        "docs/formats.md describes them.",
        {"formats": rows},
    )
