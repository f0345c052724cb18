"""The lessons that are held to the limits on time, width and drawing, and whose sections can be run again."""

HELD = ("01", "02", "03", "04", "05", "06", "07", "A", "B")
