"""The metrics as an application: /metrics, /healthz, /readyz. No row, no secret, so no token."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from accountdb.web import metrics
from accountdb.web.watching import Watch


def metrics_application(watch: Watch) -> Starlette:
    """What a monitoring system and a supervisor ask. No answer waits for a database."""

    async def served(_: Request) -> Response:
        return Response(metrics.text(watch.latest), media_type=metrics.CONTENT_TYPE)

    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        reasons = metrics.unready(watch.latest, watch.interval_s)
        return PlainTextResponse("".join(f"{line}\n" for line in reasons or ("ok",)), 503 if reasons else 200)

    async def index(_: Request) -> Response:
        return PlainTextResponse("/metrics\n/healthz\n/readyz\n")

    return Starlette(
        routes=[Route("/", index), Route("/metrics", served), Route("/healthz", alive), Route("/readyz", ready)]
    )
