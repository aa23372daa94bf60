"""Applications in processes of their own: requests, WebSockets, channels, deaths, nonsense, reloads, and the end.

The application is the Python companion of ``tests/applications``; what holds of it holds of Perl's and Go's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.child import children_of
from support.eventually import eventually
from support.http_client import fetch
from support.server import APPLICATIONS, Server, finish
from support.uwsgi_client import packet_of
from support.websocket_client import RawClient, connect

COMPANION = APPLICATIONS / "companion.py"
