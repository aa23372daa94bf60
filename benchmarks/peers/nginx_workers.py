"""nginx with two workers, which answer with the number of their process: `nginx_workers.py PORT CERTIFICATE KEY`."""

import os
import sys
from pathlib import Path

port, certificate, key = sys.argv[1:]
folder = Path(certificate).parent
temporary = "".join(
    f"{kind}_temp_path {folder}/nginx-temporary;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
config = folder / "nginx.conf"
config.write_text(
    f"daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log stderr; events {{ }}\n"
    f"http {{ access_log off; {temporary}\n"
    f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};\n"
    "ssl_protocols TLSv1.2 TLSv1.3; default_type text/plain; location / { return 200 $pid; } } }\n"
)
os.environ["PATH"] += ":/usr/sbin"
os.execlp("nginx", "nginx", "-c", str(config), "-p", str(folder))
