"""The sandbox service: reads files that nobody has vouched for in confined processes of their own."""
