"""What the peers in Python speak TLS with, where the command line has a certificate."""

import ssl
import sys


def server_context():
    """Return a context with the certificate and the key that are the third and fourth word; None without them."""
    if len(sys.argv) < 5:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    return context
