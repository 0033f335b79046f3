"""How pages are made from templates: text is escaped, styles and scripts are inside the page, and a policy in it forbids every request."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from longtake.safe_text import in_page

FOLDER = Path(__file__).parent


def render(template: Path, script: str = "", **values: object) -> str:
    """A whole page. `template` may include the files of this folder; `script` is the only one that the page can run."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, FOLDER]),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=in_page,
    )  # fmt: skip
    environment.globals |= {
        "style": Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "policy": policy(script),
    }
    return environment.get_template(template.name).render(values)


def policy(script: str) -> str:
    """Content-Security-Policy of a page: its own style and script, media next to it or inside it, and nothing else."""
    allowed = f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" if script else "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "media-src 'self' file: data: blob:; base-uri 'none'; form-action 'none'"
    )


def data_address(content: bytes, kind: str) -> str:
    """The address of a file that holds the file itself."""
    return f"data:{kind};base64,{b64encode(content).decode()}"
