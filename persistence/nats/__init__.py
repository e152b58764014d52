"""The broadcast on NATS JetStream.

`NatsStreams` is in `persistence.nats.streams`; subjects are wanted without a client.
"""
