"""A WSGI app that says who answers: `curl http://127.0.0.1:8000/`. Django and Flask have such an `app` too."""

import os


def app(environ, start_response):
    body = f'{{"hello": "world", "pid": {os.getpid()}}}\n'.encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
