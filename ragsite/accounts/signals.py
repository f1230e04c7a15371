"""What happens to people, for apps that this one must not know of."""

from django.dispatch import Signal

user_deactivated = Signal()
"""Sent after the commit, with ``user``: end what runs on their behalf."""
