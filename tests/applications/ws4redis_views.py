"""A project of Django with django-websocket-redis, in one file; its Redis server is at the unix socket REDIS."""

# ruff: noqa: E402  # the settings come before what asks for them
import os

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of a test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["ws4redis"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    WEBSOCKET_URL="/ws/",
    WS4REDIS_CONNECTION={"unix_socket_path": os.environ["REDIS"]},
    WS4REDIS_EXPIRE=0,
)
django.setup()

from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import RedisMessage
from ws4redis.uwsgi_runserver import uWSGIWebsocketServer


def say(request, what):
    RedisPublisher(facility="room", broadcast=True).publish_message(RedisMessage(what))
    return HttpResponse("said")


urlpatterns = [path("say/<what>", say)]
pages = get_wsgi_application()
websockets = uWSGIWebsocketServer()


def application(environ, start_response):
    serve = websockets if environ["PATH_INFO"].startswith(settings.WEBSOCKET_URL) else pages
    return serve(environ, start_response)
