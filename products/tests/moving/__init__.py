"""Backups, restores, moving to another database, and upgrades."""
