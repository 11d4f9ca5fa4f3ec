"""AIStore's REST API under `/v1/`, as the official SDK and CLI speak it."""
