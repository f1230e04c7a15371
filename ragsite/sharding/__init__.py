"""The same schema on a distributed PostgreSQL (Citus): docs/sharding.md."""
