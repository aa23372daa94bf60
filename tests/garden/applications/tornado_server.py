"""tornado, at the port that is its argument."""

import asyncio
import logging
import sys

from saw import field
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, ResponseStartLine

logging.disable(logging.CRITICAL)


def handle(request):
    headers = HTTPHeaders({"X-Saw": field(request.method, request.uri, request.body), "Content-Length": "0"})
    request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers)
    request.connection.finish()


async def main():
    HTTPServer(handle).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
