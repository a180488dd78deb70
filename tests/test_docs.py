"""The documentation keeps to the facts that can be checked: links, files, examples, commands and their options."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from dvr_cli.app import app
from dvr_cli.fitting.run_folder import RESUME_MAY_CHANGE

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
COMMANDS = typer.main.get_command(app)
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("[0-9]*.py"))


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose_of(text: str) -> str:
    """The text without blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def links_of(text: str) -> list[str]:
    """Targets of links and pictures that lie in the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose_of(text))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors_of(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", prose_of(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines_of(text: str) -> list[str]:
    """`dvr ...` in blocks of code, also after a prompt, and in inline code."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in re.findall(r"^(?:\$ )?(dvr .*)$", block, flags=re.MULTILINE)]
    return lines + re.findall(r"`(dvr [^`]+)`", prose_of(text))


def problem_with(line: str) -> str | None:
    """What is wrong with a command line: no such command, or no such option; None when nothing is."""
    # A placeholder such as [--resume] is an option as well; a comment may follow.
    words = shlex.split(line.replace("[", " ").replace("]", " "), comments=True)[1:]
    command = COMMANDS
    if words and not words[0].startswith("-"):
        if words[0] not in COMMANDS.commands:
            return f"there is no command {words[0]}"
        command = COMMANDS.commands[words[0]]
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    missing = [option for option in options if option not in known]
    return f"{command.name} has no option {', '.join(missing)}" if missing else None


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page):
    for link in links_of(page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page_name(page)}: {link}"
        if anchor:
            assert anchor in anchors_of(target.read_text()), f"{page_name(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_and_options_exist(page):
    problems = {line: problem_with(line) for line in command_lines_of(page.read_text())}
    assert not {line: problem for line, problem in problems.items() if problem}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_named_files_exist(page):
    named = re.findall(r"`((?:dvr_cli|docs|tests|examples|scripts|benchmarks)/[\w/.]+\.\w+)`", page.read_text())
    # NAME stands for what the reader will write, and examples/output is made by running the examples.
    expected = [name for name in named if "NAME" not in name and "/output/" not in name]
    assert not [name for name in expected if not (ROOT / name).is_file()]


def test_pages_are_found_and_read():
    assert {"README.md", "docs/method.md", "examples/README.md"} <= {page_name(page) for page in PAGES}
    readme = (ROOT / "README.md").read_text()
    assert links_of(readme) and len(command_lines_of(readme)) >= 3


def test_the_checks_see_mistakes():
    text = "# A b, c\n[x](missing.md#y) [web](https://x.y)\n```\n$ dvr exprot a.ply\ndvr export --rnu x # y\n```\n`dvr`"
    assert links_of(text) == ["missing.md#y"]
    assert anchors_of(text) == {"a-b-c"}
    assert [problem_with(line) for line in command_lines_of(text)] == [
        "there is no command exprot",
        "export has no option --rnu",
    ]
    assert problem_with("dvr export a.ply [--run RUN]") is None
    assert problem_with("dvr --version") is None


def test_every_page_can_be_reached_from_the_readme():
    seen, pending = set(), [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = ((page.parent / link.partition("#")[0]).resolve() for link in links_of(page.read_text()))
        pending += [target for target in targets if target.suffix == ".md"]
    assert set(PAGES) <= seen


def test_every_example_is_explained():
    walk_through = (ROOT / "examples" / "README.md").read_text()
    assert EXAMPLES and all(name in walk_through for name in EXAMPLES)


def test_settings_that_may_change_are_those_documented():
    text = (ROOT / "docs" / "run_folder.md").read_text()
    sentence = re.search(r"The settings ([^.]*) may change", " ".join(text.split()))
    assert re.findall(r"`(\w+)`", sentence[1]) == list(RESUME_MAY_CHANGE)
