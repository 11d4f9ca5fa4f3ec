"""The HTTP front of the cluster: AIStore REST today, S3 and JSON transcoding through the same doors later."""
