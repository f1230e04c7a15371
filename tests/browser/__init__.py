"""A package, so that its tests share one site and one browser, which are closed after the last of them."""
