"""How the tests check annotations at run time: with beartype, with the exceptions that type checkers make as well.

jaxtyping's import hook decorates every function so that its parameters are checked twice and bound to names at each
call, for the sake of its messages. Here functions are checked once.
"""

import ast
import functools
from collections.abc import Callable
from types import FunctionType
from typing import IO, Any, BinaryIO, TextIO

from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import _array_types, _decorator, _import_hook, _storage, install_import_hook, jaxtyped

# PEP 484 lets whole numbers stand for floats. Many of the standard library's own files (a member of a zip archive, a
# captured stderr) lack a method or two of typing.IO, so files are not looked at.
_FILES: dict = {hint: object for hint in (IO[bytes], IO[str], TextIO, BinaryIO)}
checked_class = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict(_FILES)))
_FUNCTIONS = "functions"
_of_this_kind: set[tuple[type, type, Any]] = set()
"""Hints with a type of array and of number that they have accepted: after that only shapes are left to compare."""


def checked_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its parameters and what it returns checked in one scope of names for sizes."""
    checked = checked_class(_with_known_names(function))

    @functools.wraps(function)
    def in_own_scope(*arguments: Any, **named: Any) -> Any:
        with jaxtyped("context"):
            return checked(*arguments, **named)

    return in_own_scope


def _with_known_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy whose annotations have no names in them that are unknown so far; those parameters are not checked."""
    assert isinstance(function, FunctionType)
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    functools.update_wrapper(copy, function)
    del copy.__wrapped__
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = {
        name: _decorator._destring_annotation(annotation, function.__globals__)
        for name, annotation in function.__annotations__.items()
    }
    return copy


def check_types(package: str) -> None:
    """Check the annotations of all functions and dataclasses of a package that has not been imported yet.

    Left alone are functions that Warp compiles from their source, and functions in functions: a `def` in a body is
    decorated anew each time that the body runs, which takes a millisecond. The type checker reads theirs.
    """
    _import_hook._is_no_type_check = _is_left_alone
    _import_hook.JaxtypingTransformer.visit_FunctionDef = _decorate
    _import_hook.Typechecker.lookup[_FUNCTIONS] = checked_function
    _array_types._MetaAbstractArray.__instancecheck__ = _is_instance
    install_import_hook(package, "checked_types.checked_class")


def _is_instance(hint: Any, value: Any) -> bool:
    """What jaxtyping says of an array, without looking again at a kind of array that the hint has accepted before."""
    kind = hint, type(value), getattr(value, "dtype", None)
    if kind not in _of_this_kind:
        accepted = hint.__instancecheck_str__(value) == ""
        if accepted:
            _of_this_kind.add(kind)
        return accepted
    sizes, variadic, trees, arguments = _storage.get_shape_memo()
    before = sizes.copy(), variadic.copy()
    if hint._check_shape(value, sizes, variadic, arguments) == "":
        return True
    _storage.set_shape_memo(*before, trees, arguments)
    return False


def _is_left_alone(decorator: ast.AST) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called).split(".")[-1] in ("kernel", "func", "func_native", "no_type_check")


def _decorate(self: _import_hook.JaxtypingTransformer, node: ast.FunctionDef) -> ast.FunctionDef:
    """Decorate a function of a module or a class; what stands within it is not visited."""
    if self._no_type_check_level == 0 and not any(map(_is_left_alone, node.decorator_list)):
        lookup = f"jaxtyping._import_hook.Typechecker.lookup[{_FUNCTIONS!r}]"
        node.decorator_list.append(ast.copy_location(ast.parse(lookup, mode="eval").body, node))
    return node
