"""The labelling app: annotators pick chosen or rejected, and every pick is a durable event."""
