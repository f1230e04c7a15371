"""Questions about the library itself, or about a document as a whole: answered without a search for passages."""
