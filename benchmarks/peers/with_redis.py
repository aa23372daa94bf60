"""Run a command beside a Redis of its own, in the same session, so that its CPU time counts.

    python with_redis.py COMMAND [ARGUMENT ...]

The command finds it by REDIS_SOCKET. Nothing is written to disk.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

folder = tempfile.mkdtemp(prefix="uwsgi_ws-redis-")
path = os.path.join(folder, "redis.sock")
options = ["--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", folder]
bus = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
while not pathlib.Path(path).is_socket():
    if bus.poll() is not None:
        raise SystemExit("redis-server ended")
    time.sleep(0.01)
server = subprocess.Popen(sys.argv[1:], env={**os.environ, "REDIS_SOCKET": path})


def stop(number, frame):
    """End the server; main goes on behind its wait."""
    server.send_signal(number)


signal.signal(signal.SIGTERM, stop)
status = server.wait()
bus.terminate()
bus.wait()
shutil.rmtree(folder, ignore_errors=True)
sys.exit(status)
