"""A small notes service: FastAPI, SQLAlchemy and Alembic on SQLite, as a real project has them."""
