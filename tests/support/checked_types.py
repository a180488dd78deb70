"""How the tests check annotations at run time: with beartype, with the exceptions that type checkers make as well."""

import ast
from typing import IO, BinaryIO, TextIO

from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import _import_hook

# PEP 484 lets whole numbers stand for floats. Many of the standard library's own files (a member of a zip archive, a
# captured stderr) lack a method or two of typing.IO, so files are not looked at.
_FILES: dict = {hint: object for hint in (IO[bytes], IO[str], TextIO, BinaryIO)}
checked = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict(_FILES)))


def leave_kernels_alone() -> None:
    """Let the import hook pass over `@wp.kernel` and `@wp.func` like `@no_type_check`: Warp compiles their source."""
    is_marked = _import_hook._is_no_type_check

    def is_unchecked(decorator: ast.AST) -> bool:
        return ast.unparse(decorator) in ("wp.kernel", "wp.func") or is_marked(decorator)

    _import_hook._is_no_type_check = is_unchecked


def leave_local_functions_alone() -> None:
    """Let the import hook pass over functions within functions, and all that stands in them.

    A `def` in a body is decorated anew each time that the body runs, and writing the checks of one takes a millisecond:
    two thirds of the time of a tiny reconstruction. The type checker reads their annotations.
    """
    decorate = _import_hook.JaxtypingTransformer.visit_FunctionDef

    def decorate_unless_local(self: _import_hook.JaxtypingTransformer, node: ast.FunctionDef) -> ast.FunctionDef:
        is_local = any(isinstance(parent, ast.FunctionDef) for parent in self._parents)
        return node if is_local else decorate(self, node)

    _import_hook.JaxtypingTransformer.visit_FunctionDef = decorate_unless_local
