"""The service: gRPC in front of one engine."""
