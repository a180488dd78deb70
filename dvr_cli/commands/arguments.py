"""What the command line's library cannot do: an option whose value may be left out, and words of our own for mistakes.

`--masks` alone, `--masks auto` and `--masks FOLDER` all mean something. A `--masks` without a value gets one here,
before the command line is parsed, so that `dvr reconstruct --masks SCENE` works like `dvr reconstruct SCENE --masks`.
"""

from typing import Any

import typer
from typer.core import TyperCommand

from dvr_cli.commands.options import FOUND

MASKS = "--masks"


class Command(TyperCommand):
    """A command in which `--masks` may stand without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The usual, with the values in place; typer.BadParameter says what was expected in our words."""
        try:
            return super().parse_args(ctx, with_values(args, self))
        except typer.BadParameter as error:
            error.message = _reworded(error)
            raise


def with_values(arguments: list[str], command: Any) -> list[str]:
    """The arguments with `--masks` followed by a value everywhere.

    `command`: the parsed form of the command that they belong to, which knows which options take values. What follows
    `--masks` is its value unless it is an option, or the only word that can be the argument which the command needs.
    """
    completed: list[str] = []
    for index, word in enumerate(arguments):
        completed.append(word)
        rest = arguments[index + 1 :]
        if word == "--":
            return completed + rest
        if word == MASKS and (not rest or _is_option(rest[0]) or _is_argument(completed[:-1], rest, command)):
            completed.append(FOUND)
    return completed


def _is_argument(before: list[str], rest: list[str], command: Any) -> bool:
    """Whether the first word of `rest` is needed as the command's argument, because there is no other."""
    wants_argument = any(parameter.param_type_name == "argument" and parameter.required for parameter in command.params)
    return (
        rest[0] != "auto"
        and wants_argument
        and not _has_argument(before, command)
        and not _has_argument(rest[1:], command)
    )


def _has_argument(words: list[str], command: Any) -> bool:
    """Whether one of the words is neither an option nor the value of one."""
    flags = {
        name
        for parameter in command.params
        if parameter.param_type_name == "option" and getattr(parameter, "is_flag", False)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    takes_value = False
    for word in words:
        if takes_value:
            takes_value = False
        elif _is_option(word):
            takes_value = word not in flags and "=" not in word
        else:
            return True
    return False


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


def _reworded(error: typer.BadParameter) -> str:
    """What is wrong with a value; the library hands on pydantic's sentences, which are about its types."""
    from pydantic import ValidationError

    if not isinstance(error.__cause__, ValidationError):
        return error.message
    problem: Any = error.__cause__.errors(include_url=False)[0]
    value, context = str(problem["input"]), problem.get("ctx", {})
    expected = {
        "int_parsing": "a whole number",
        "int_parsing_size": "a number of fewer digits",
        "int_from_float": "a whole number",
        "float_parsing": "a number",
        "greater_than_equal": f"{context.get('ge', 0):.10g} or more",
        "less_than_equal": f"{context.get('le', 0):.10g} or less",
    }
    if problem["type"] in expected:
        return f"{value!r} cannot be used: expected {expected[problem['type']]}."
    return str(context.get("error", error.message))
