"""What applications import: the module ``uwsgi`` and the typed functions of ``uwsgi_ws``."""
