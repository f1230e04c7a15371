"""The load harness: `make load PROFILE=mixed USERS=100`.

What it does and how to read its report: docs/performance-testing-strategy.md
"""
