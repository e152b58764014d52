"""The broadcast on NATS JetStream."""
