"""What keeps the site from starting, in words for the person who started it."""


class CannotStart(Exception):
    """Its text says what is wrong and what to do about it."""
