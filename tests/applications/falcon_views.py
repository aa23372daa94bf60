"""Views with WebSockets in Falcon."""

import falcon
from views import view


class Page:
    def on_get(self, request, response):
        response.set_cookie("seen", "yes")
        response.media = {"method": request.method, "body": request.bounded_stream.read().decode()}

    on_post = on_get


class Answer:
    def on_get(self, request, response, path):
        view(request.env)
        if path == "fails":
            raise RuntimeError("on purpose")
        if path == "stream":
            response.stream = (b"%d" % n for n in range(3))
        else:
            response.text = "" if path == "empty" else "done"


application = falcon.App()
application.add_route("/page", Page())
application.add_route("/{path}", Answer())
