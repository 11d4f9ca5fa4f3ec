"""Documentation that writes itself: OpenAPI, the pages at `/-/docs`, and the Markdown under `docs/api`."""
