"""What Http11Probe asks of the application behind a server (tests/compliance/http11probe.json, "app").

It reads the body of a POST to its end and of nothing else: what becomes of the rest is the server's to show.
"""

ALLOWED = ("GET", "HEAD", "POST", "OPTIONS")


def application(environ, start_response):
    method = environ["REQUEST_METHOD"]
    headers = [("Allow", ", ".join(ALLOWED))]
    if method == "OPTIONS":
        start_response("204 No Content", headers)
        return []
    status, content = "200 OK", b"OK"
    if method not in ALLOWED:
        status, content = "405 Method Not Allowed", b""
    elif environ["PATH_INFO"] == "/echo":
        content = "".join(f"{name}: {value}\n" for name, value in fields(environ)).encode("latin-1")
    elif environ["PATH_INFO"] == "/cookie":
        pairs = environ.get("HTTP_COOKIE", "").split(";")
        content = "".join(f"{pair.strip()}\n" for pair in pairs if "=" in pair).encode("latin-1")
    elif method == "POST":
        content = body(environ)
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(content))), *headers])
    return [content]


def body(environ):
    length = environ.get("CONTENT_LENGTH")
    if length:
        return environ["wsgi.input"].read(int(length))
    return environ["wsgi.input"].read() if "HTTP_TRANSFER_ENCODING" in environ else b""


def fields(environ):
    for name, value in environ.items():
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            yield name.removeprefix("HTTP_").replace("_", "-").title(), value
