"""gunicorn's uvicorn worker on asyncio's own loop, which its package offers only with the slower parser."""

from uvicorn_worker import UvicornWorker


class AsyncioWorker(UvicornWorker):
    CONFIG_KWARGS = {"loop": "asyncio", "http": "httptools"}
