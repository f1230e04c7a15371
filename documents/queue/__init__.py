"""The queue of documents: how long it takes, why one is not done, and what failed once more."""
