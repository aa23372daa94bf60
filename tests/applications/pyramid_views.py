"""Views with WebSockets in Pyramid."""

from pyramid.config import Configurator
from pyramid.response import Response
from views import view


def page(request):
    response = Response(json_body={"method": request.method, "body": request.text})
    response.set_cookie("seen", "yes")
    return response


def answer(request):
    path = request.matchdict["path"]
    view(request.environ)
    if path == "stream":
        return Response(app_iter=(b"%d" % n for n in range(3)))
    if path == "fails":
        raise RuntimeError("on purpose")
    return Response("" if path == "empty" else "done")


with Configurator() as config:
    for name, pattern, function in (("page", "/page", page), ("answer", "/{path}", answer)):
        config.add_route(name, pattern)
        config.add_view(function, route_name=name)
    application = config.make_wsgi_app()
