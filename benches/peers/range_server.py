#!/usr/bin/env python3
"""Serve the files of a directory as fast as Python can: HTTP/1.1, ranges, entity tags, by sendfile.

    range_server.py DIR PORT

Path and file are the same, so that it is a web server and, for reading, an S3 endpoint whose buckets are the directories in DIR.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = sys.argv[1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = os.path.join(ROOT, self.path.split("?")[0].lstrip("/"))
        if not os.path.isfile(path):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            first, last = 0, status.st_size - 1
            asked = self.headers.get("Range")
            if asked:
                first, last = (int(number) for number in asked.removeprefix("bytes=").split("-"))
                last = min(last, status.st_size - 1)
            self.send_response(206 if asked else 200)
            self.send_header("ETag", f'"{status.st_mtime_ns}-{status.st_size}"')
            self.send_header("Content-Length", str(last - first + 1))
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{status.st_size}")
            self.end_headers()
            self.wfile.flush()
            while first <= last:
                first += os.sendfile(self.connection.fileno(), file.fileno(), first, last - first + 1)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
