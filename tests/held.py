"""The lessons that are held to the limits on time, width and drawing, and whose sections can be run again."""

HELD = ()  # numbers such as "01"; a lesson comes in when its rework lands, until all are here
