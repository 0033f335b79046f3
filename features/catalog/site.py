"""The pages as files: one HTML page with its script, its style, and data in further files, or all of it in one file.

All text of stores and runs is data: the script puts it into the page as text, and no page has a script that was made from it. Data are
scripts that hand over one JSON text, since a page that is opened from a disk may load no other files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path

from longtake.errors import LongtakeError
from longtake.files import require_regular, write_whole
from longtake.safe_text import printable_lines
from longtake.terminal import to_json

HERE = Path(__file__).parent
PAGE, STYLE, SCRIPT = "index.html", "app.css", "app.js"
FOLDER, PAGES, MEDIA = "data", "page", "video"
POLICY = "default-src 'none'; script-src {script}; style-src {style}; img-src 'self' data:; media-src 'self'; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy: nothing but the files of the site is loaded, and no script but ours runs."""
OWN_POLICY = POLICY.format(script="'self'", style="'self'")


@dataclass
class Site:
    """Named data, each made when it is asked for, and the scripts that show them."""

    scripts: tuple[Path, ...] = (HERE / SCRIPT, HERE / "stores.js")
    data: dict[str, bytes | Callable[[], object]] = field(default_factory=dict)
    """Name -> JSON, or what makes the value."""
    pages: dict[str, Callable[[], str]] = field(default_factory=dict)
    """Name -> what makes a further HTML page, which a site of one file does not have."""
    asked: dict[str, Callable[[Sequence[int]], object]] = field(default_factory=dict)
    """Name -> what makes the value of the data `name-1-2`, with its numbers: for a server, an export has none of these."""

    def json(self, name: str) -> bytes:
        """Raises `KeyError` for an unknown name."""
        kind, *numbers = name.split("-")
        if name not in self.data and kind in self.asked and all(one.isdecimal() and len(one) < 10 for one in numbers):
            return plain_json(self.asked[kind]([int(one) for one in numbers]))
        value = self.data[name]
        return value if isinstance(value, bytes) else plain_json(value())

    def file(self, name: str) -> bytes:
        """The data as a script: a call with the JSON as text, so that it is parsed and never run."""
        return f"longtake.data({json.dumps(name)}, {json.dumps(self.json(name).decode())});\n".encode()

    @property
    def script(self) -> str:
        return "\n".join(path.read_text(encoding="utf-8") for path in self.scripts)

    @property
    def style(self) -> str:
        return (HERE / STYLE).read_text(encoding="utf-8")

    def page(self) -> str:
        return _page(OWN_POLICY, f'<link rel="stylesheet" href="{STYLE}">', f'<script src="{SCRIPT}" defer></script>')


def _page(policy: str, style: str, script: str) -> str:
    text = (HERE / PAGE).read_text(encoding="utf-8")
    return text.replace("{policy}", policy).replace("<!-- style -->", style).replace("<!-- script -->", script)


def plain_json(value: object) -> bytes:
    """ASCII JSON in which text is printable: it can neither hide nor reverse what is around it."""
    try:
        text = json.dumps(value, default=vars, allow_nan=False).encode()
    except ValueError:  # NaN becomes null below.
        text = b"\\u"
    # Most data are plain already, and 100,000 videos are much to look through.
    return to_json(_plain(value)).encode() if _NOT_PLAIN.search(text) else text


_NOT_PLAIN = re.compile(rb"\\[urbf]|\x7f")
"""In ASCII JSON: what is not printable, and other letters than those of ASCII."""


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value if value.isprintable() else printable_lines(value)
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(one) for key, one in value.items()}
    return _plain(asdict(value)) if is_dataclass(value) and not isinstance(value, type) else value


def one_page(site: Site) -> str:
    """All of the site in one file that needs nothing else."""
    script, style = f"\n{site.script}\n", f"\n{site.style}\n"
    if "</script" in script.lower() or "</style" in style.lower():
        raise AssertionError("our own script or style would end its element")
    blocks = "\n".join(
        f'<script type="application/json" id="data-{name}">{_inside(site.json(name))}</script>' for name in site.data
    )
    policy = POLICY.format(script=_hash(script), style=_hash(style))
    return _page(policy, f"<style>{style}</style>", f"{blocks}\n<script>{script}</script>")


def _inside(json_text: bytes) -> str:
    """JSON inside an element: `<` is the only character that could end it."""
    return json_text.decode().replace("<", "\\u003c")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def site_files(site: Site) -> Iterator[tuple[str, bytes]]:
    """Path in the site -> content. The page is the last one: a site with a page is complete."""
    for name in site.data:
        yield f"{FOLDER}/{name}.js", site.file(name)
    for name, make in site.pages.items():
        yield f"{PAGES}/{name}.html", make().encode()
    yield STYLE, site.style.encode()
    yield SCRIPT, site.script.encode()
    yield PAGE, site.page().encode()


_OUR_TITLE = b"<title>Longtake</title>"
_OURS = re.compile(r"([a-z]+(-\d+)*\.(js|html)|\d+\.[a-z0-9]+)")


def write_site(site: Site, folder: Path, media: Mapping[str, Path] | None = None) -> int:
    """Write the files into a folder, new or of an earlier export, and return their number of bytes. Raises `LongtakeError` for a folder
    with other files: they would be served with the site. Of `media` of an earlier export, those that are not in it go."""
    kept = {PAGE, STYLE, SCRIPT, FOLDER, PAGES, MEDIA}
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if folder.exists() and not folder.is_dir():
        raise LongtakeError(f"{folder} is a file: name a new folder, or a file that ends in .html for one page")
    others = [name for name in there if name not in kept]
    if others or (there and not _is_our_page(folder / PAGE)):
        raise LongtakeError(f"{folder} holds other files than a site ({(others or there)[0]}): name a new folder")
    made = {f"{FOLDER}/{name}.js" for name in site.data} | {f"{PAGES}/{name}.html" for name in site.pages}
    made |= (media or {}).keys()
    for name in (FOLDER, PAGES, MEDIA):
        if name != MEDIA:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for old in (folder / name).glob("*"):
            if _OURS.fullmatch(old.name) and f"{name}/{old.name}" not in made:
                old.unlink()
    total = 0
    for name, content in site_files(site):
        write_whole(folder / name, content)
        total += len(content)
    return total


def _is_our_page(path: Path) -> bool:
    """Whether an earlier export wrote it: of a site of someone else, nothing may be replaced or removed."""
    with suppress(OSError):
        return _OUR_TITLE in require_regular(path).read_bytes()
    return False


def is_one_page(place: Path) -> bool:
    """Whether a site that is written there is one file."""
    return place.suffix.lower() in (".html", ".htm")


def write(site: Site, place: Path, media: Mapping[str, Path] | None = None) -> int:
    """Write a site into a folder, or into one file where the name ends in .html, and return its number of bytes. Files of `media`, which a
    folder keeps if it has them, are for `longtake.features.catalog.media`."""
    if not is_one_page(place):
        return write_site(site, place, media)
    page = one_page(site).encode()
    write_whole(place, page)
    return len(page)


def summary(title: str, made: str, counts: Mapping[str, int], **more: object) -> dict[str, object]:
    """The data `index`, which the page loads first."""
    return {"title": title, "made": made, "counts": dict(counts), **more}
