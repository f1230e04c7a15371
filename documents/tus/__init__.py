"""Uploads that can be gone on with after they broke off: tus 1.0.0 (docs/decisions has why it is our own)."""
