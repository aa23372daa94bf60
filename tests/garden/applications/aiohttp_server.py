"""aiohttp, at the port that is its argument."""

import sys

from aiohttp import web
from saw import field


async def handle(request):
    body = await request.read()
    return web.Response(headers={"X-Saw": field(request.method, request.raw_path, body)})


application = web.Application(client_max_size=1 << 24)
application.router.add_route("*", "/{rest:.*}", handle)
web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
