"""WebHDFS as Hadoop 2.9 and newer speak it, in front of a name node of Hadoop 2.7, which lacks one thing of it.

webhdfs.py HOST PORT NAME_NODE_HTTP_PORT

With noredirect=true a name node says in a JSON body where the data is to go; that of 2.7 passes noredirect over and answers
with a redirect. Every other request and answer, redirects of reads too, passes as it is. What is written and read goes to
the data node itself.
"""

import json
import sys
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

host, port, name_node_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
TIMEOUT_S = 60


def ask(method, path, body=b"", headers=None):
    """The name node's answer: status, headers and body."""
    connection = HTTPConnection(host, name_node_port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body=body or None, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.getheaders(), response.read()
    finally:
        connection.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, answer = ask(self.command, self.path, body)
        kept = [(name, value) for name, value in headers if name.lower() in ("content-type", "location")]
        if status == 307 and parse_qs(urlsplit(self.path).query).get("noredirect") == ["true"]:
            location = dict((name.lower(), value) for name, value in headers)["location"]
            status, kept, answer = 200, [("Content-Type", "application/json")], json.dumps({"Location": location}).encode()
        self.send_response(status)
        for name, value in kept:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = forward

    def log_message(self, *_):
        pass


def serves():
    """True when the name node would take a file: it has left its safe mode and has a data node."""
    try:
        status, _, _ = ask("PUT", "/webhdfs/v1/probe?op=CREATE&user.name=probe")
        return status == 307
    except OSError:
        return False


server = ThreadingHTTPServer((host, port), Handler)
while not serves():
    time.sleep(0.2)
print("serves", flush=True)
server.serve_forever()
