"""S3, under `/s3` and at the root of the gateway's port, for unchanged clients."""
