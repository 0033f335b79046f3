"""The pages over HTTP, for this machine: read-only, only for the names that it is known by, and with ranges of videos.

A page of another site that is open in the same browser must learn nothing. It could send requests to this machine under a name of its own
(DNS rebinding), so other names in `Host` are refused; and it could load our data as scripts, so browsers are told to keep them to our own pages, and what a
browser marks as asked by another site is refused.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from longtake.features.catalog.site import MEDIA, OWN_POLICY, SCRIPT, STYLE
from longtake.packages import needs
from longtake.terminal import echo
from longtake.train.errors import TrainError
from longtake.train.view.build import Laboratory
from longtake.train.view.routines import page_policy
from longtake.train.view.videos import TYPES

if TYPE_CHECKING:
    from starlette.applications import Starlette

LOCAL = "127.0.0.1"
LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
PORT = 8420
HEADERS = {
    "content-security-policy": f"{OWN_POLICY}; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
HTML, CSS, JAVASCRIPT = "text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8"


def host_of(header: str) -> str:
    """The name in a `Host` header, without its port, in small letters."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """Refuses what is not a read of our own pages, and adds `HEADERS` to every answer. An ASGI application around another."""

    def __init__(self, app: Any, names: Sequence[str]) -> None:
        self.app, self.names = app, {name.lower() for name in names}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                own = message.get("headers", [])
                message["headers"] = [*own, *(one for one in ours if one[0] not in dict(own))]
            await send(message)

        refused = self._refusal(scope)
        answer = PlainTextResponse(refused[1], refused[0]) if refused else self.app
        try:
            await answer(scope, receive, send_with_headers)
        except Exception as error:  # The browser has got status 500; the log of a server is no place for a traceback.
            echo(f"error: {scope['path']}: {type(error).__name__}: {error}", err=True)

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1"))
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or host_of(hosts[0]) not in self.names:
            return 403, "This server is not known by that name. Start it with --allow-host NAME to allow it.\n"
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "This server only reads.\n"
        if any(site not in ("same-origin", "none") for site in headers.get(b"sec-fetch-site", [])) and (
            headers.get(b"sec-fetch-mode") != ["navigate"] or headers.get(b"sec-fetch-dest") != ["document"]
        ):
            return 403, "Another site asked for this.\n"
        return None


def require_installed() -> None:
    """Raises `TrainError` where a package of the extra is missing."""
    with needs(
        lambda name: TrainError(
            f"--serve needs the package {name}: python -m pip install 'longtake[view]'. --export SITE needs nothing more"
        )
    ):
        import starlette
        import uvicorn
    assert starlette and uvicorn


def make_app(laboratory: Laboratory, names: Sequence[str] = LOCAL_NAMES) -> Guard:
    """The application, for `serve`."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, Response
    from starlette.routing import Route

    site, videos = laboratory.site, laboratory.videos
    lock = Lock()  # Data are made by several threads of the server.
    own = {
        "/": (site.page(), HTML),
        "/index.html": (site.page(), HTML),
        f"/{STYLE}": (site.style, CSS),
        f"/{SCRIPT}": (site.script, JAVASCRIPT),
    }

    def fixed(request: Request) -> Response:
        text, kind = own[request.url.path]
        return Response(text, media_type=kind)

    def data(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            with lock:
                content = site.file(name)
        except KeyError:
            return Response("No such data.\n", 404, media_type="text/plain")
        return Response(content, media_type=JAVASCRIPT)

    def video(request: Request) -> Response:
        path = videos.at(f"{MEDIA}/{request.path_params['name']}") if videos is not None else None
        if path is None:
            return Response("No such video.\n", 404, media_type="text/plain")
        return FileResponse(path, media_type=TYPES[path.suffix.lower()])

    policy = f"{page_policy()}; frame-ancestors 'none'"

    def page(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in site.pages:
            return Response("No such page.\n", 404, media_type="text/plain")
        with lock:
            text = site.pages[name]()
        return Response(text, media_type=HTML, headers={"content-security-policy": policy})

    routes = [
        *(Route(path, fixed) for path in own),
        Route("/data/{name}.js", data),
        Route("/page/{name}.html", page),
        Route(f"/{MEDIA}/{{name}}", video),
    ]
    app: Starlette = Starlette(routes=routes)
    return Guard(app, names)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `TrainError`, saying what to do, where the port is taken or the address is not this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OverflowError as error:
        raise TrainError(f"--port {port} is not a port") from error
    except OSError as error:
        raise TrainError(
            f"cannot serve at {host}, port {port}: {error.strerror or error}. Choose another with --port, or 0 for any that is free"
        ) from error


def names_for(host: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """The names that requests may have. Raises `TrainError` for an address that others can reach, where no name is given for it."""
    if not is_local(host) and not allowed:
        raise TrainError(
            f"--host {host} can be reached by other machines, and the pages have no password: say by which names with --allow-host NAME, or "
            f"use a tunnel: ssh -L {PORT}:127.0.0.1:{PORT} MACHINE"
        )
    return (*LOCAL_NAMES, *allowed)


def config(app: Guard) -> Any:
    """How uvicorn serves: it says nothing of itself, and logs no requests."""
    import uvicorn

    return uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none")


def serve(app: Guard, listening: socket.socket) -> None:
    """Until Ctrl-C."""
    import uvicorn

    uvicorn.Server(config(app)).run(sockets=[listening])


def url_of(host: str, listening: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}/"
