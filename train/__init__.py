"""Train and use the heads that score performances."""
