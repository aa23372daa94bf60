"""Views with WebSockets in Bottle."""

import bottle
from views import view

app = application = bottle.Bottle()


@app.route("/page", method=["GET", "POST"])
def page():
    bottle.response.set_cookie("seen", "yes")
    return {"method": bottle.request.method, "body": bottle.request.body.read().decode()}


@app.get("/<path>")
def answer(path):
    view(bottle.request.environ)
    if path == "stream":
        return (b"%d" % n for n in range(3))
    if path == "fails":
        raise RuntimeError("on purpose")
    return "" if path == "empty" else "done"
