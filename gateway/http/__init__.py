"""What is served over HTTP: pages, health, static files."""
