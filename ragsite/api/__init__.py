"""What every REST endpoint leans on: problems, pages, throttles, idempotency keys, the schema."""
