"""A plugin whose author forgot a dependency."""

raise ImportError("No module named 'left_pad'")
