"""The lessons that are held to the limits on time, width and drawing, and whose sections can be run again."""

HELD = ("01", "02", "03", "04", "05", "06", "07", "A", "B")
# Run again by section. Lesson 6 spoils a network and appendix B makes folders: both only once.
AGAIN = tuple(number for number in HELD if number not in ("06", "B"))
