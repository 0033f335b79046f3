"""Push stores to a remote and pull them by name. FORMAT.md has the layout of a remote.

Nothing on a remote is ever overwritten but the index and pages for people, which can be made again from the rest.
"""
