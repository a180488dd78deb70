"""One self-contained HTML page from a template and its values.

Every value is escaped by the template engine. The page's own style and scripts come from the package; its content
security policy names the scripts by their hashes and forbids everything that would need a network.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from dvr_cli.reporting.schema import Report, SuiteReport


def render_page(template: str, report: Report | SuiteReport, scripts: Sequence[str], values: dict[str, Any]) -> str:
    """The text of a page; `scripts` are names of files beside the templates."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(template_text), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    sources = [template_text(name) for name in scripts]
    return environment.get_template(template).render(
        report=report,
        created=report.created.strftime("%Y-%m-%d %H:%M %z"),
        policy=_policy(sources),
        style=Markup(template_text("style.css")),
        scripts=[Markup(source) for source in sources],
        **values,
    )


def template_text(name: str) -> str:
    """A file of the folder `templates`."""
    return resources.files("dvr_cli.reporting").joinpath("templates", name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes) or "'none'"
    # Styles are the page's own and those in SVG and legends; a style cannot load anything under this policy.
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'"
