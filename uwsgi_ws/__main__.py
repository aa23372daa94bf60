"""``python -m uwsgi_ws``."""

import sys

from uwsgi_ws.cli import main

if __name__ == "__main__":
    sys.exit(main())
