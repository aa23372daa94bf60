"""``python -m uwsgi_ws``, and the command ``uwsgi-ws``."""

import sys

from uwsgi_ws.collector import at_rest

__all__ = ["main"]


def main() -> int:
    """Run the command line; return the exit status."""
    with at_rest():
        from uwsgi_ws import cli
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
