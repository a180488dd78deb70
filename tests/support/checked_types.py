"""How the tests check annotations at run time: with beartype, with the exceptions that type checkers make as well."""

from typing import IO, BinaryIO, TextIO

from beartype import BeartypeConf, FrozenDict, beartype

# PEP 484 lets whole numbers stand for floats. Many of the standard library's own files (a member of a zip archive, a
# captured stderr) lack a method or two of typing.IO, so files are not looked at.
_FILES: dict = {hint: object for hint in (IO[bytes], IO[str], TextIO, BinaryIO)}
checked = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict(_FILES)))
