"""Publish stock events to other systems: webhooks, message brokers, the log.

A subscriber is a cursor in the change feed. See `docs/how-to/receive-webhooks.md`.
"""
