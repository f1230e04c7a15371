"""Django's PostgreSQL backends, of which a lost connection is always an OperationalError."""
