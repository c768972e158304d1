"""An ASGI app whose requests are spans; without traces it is the app itself.

A span names the route and never the path or query, which hold names of customers and events.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.trace_context import context_of_request
from shared.tracing import Tracing, fail

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_UNTRACED = ("/health/live", "/health/ready", "/metrics")


def traced(app: ASGIApp, tracing: Tracing, route: str | None = None) -> ASGIApp:
    """Give an app whose requests are traced; `route` is that of an app that has only one."""
    return _TracedApp(app, tracing, route) if tracing.on else app


class _TracedApp:
    def __init__(self, app: ASGIApp, tracing: Tracing, route: str | None) -> None:
        self._app = app
        self._tracing = tracing
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within a span, which goes on with the sender's trace if it has one."""
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        status = 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes = {
            "http.request.method": method,
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
        }
        parent = context_of_request(scope["headers"])
        name = "HTTP" if method == "_OTHER" else method
        with self._tracing.span(name, attributes, kind="server", parent=parent) as span:
            try:
                await self._app(scope, receive, send_noted)
            finally:
                route = self._route or getattr(scope.get("route"), "path", None)
                if route is not None:
                    span.update_name(f"{name} {route}")
                    span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    fail(span, str(status))
