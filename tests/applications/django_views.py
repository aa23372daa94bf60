"""Views with WebSockets in Django."""

import django.conf
import django.core.handlers.wsgi
import django.http
import django.urls
from views import view


def answer(request, path):
    view(request.environ)
    if path == "stream":
        return django.http.StreamingHttpResponse(b"%d" % n for n in range(3))
    if path == "fails":
        raise RuntimeError("on purpose")
    return django.http.HttpResponse("" if path == "empty" else "done")


urlpatterns = [django.urls.path("<path>", answer)]
django.conf.settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)
django.setup()
application = django.core.handlers.wsgi.WSGIHandler()
