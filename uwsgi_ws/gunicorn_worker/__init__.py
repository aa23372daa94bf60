"""The worker class for gunicorn, whose arbiter is our master there: ``-k uwsgi_ws.gunicorn_worker.GeventWorker``."""

from uwsgi_ws.gunicorn_worker.worker import GeventWorker

__all__ = ["GeventWorker"]
