"""Generated from ``proto/biometrik/v1`` by ``scripts/gen-proto``; imports nothing of ours."""
