"""Views with WebSockets in Flask."""

import flask
from views import view

app = application = flask.Flask(__name__)


@app.route("/<path>", websocket=True)
def answer(path):
    view(flask.request.environ)
    if path == "stream":
        return flask.Response(b"%d" % n for n in range(3))
    if path == "fails":
        raise RuntimeError("on purpose")
    return "" if path == "empty" else "done"
