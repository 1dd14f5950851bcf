"""A service to stand behind the gate: answers each request with what reached it, as plain text.

    python3 examples/demo-service.py [PORT]

Listens on 127.0.0.1, port 9000 unless another is given. Needs Python 3.8 or newer and nothing else.
"""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        # The body is read, so that the connection can carry the next request.
        length = self.read_body()
        lines = [f"{self.command} {self.path}", ""]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += ["", f"({length} bytes of body)", ""]
        text = "\n".join(lines).encode("utf-8", "replace")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return len(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        total = 0
        while size := int(self.rfile.readline().split(b";")[0], 16):
            total += len(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return total

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, form, *values):
        print("demo service:", form % values, flush=True)


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Echo)
    except OSError as error:
        sys.exit(f"demo service: 127.0.0.1:{port}: {error.strerror}")
    server.daemon_threads = True
    print(f"demo service on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


main()
