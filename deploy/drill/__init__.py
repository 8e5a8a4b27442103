"""Break a database cluster under load, and count the lost and doubled changes: `make drill`."""
