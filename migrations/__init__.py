"""The schema's history, one file a version: Alembic's, the same on SQLite and PostgreSQL."""
