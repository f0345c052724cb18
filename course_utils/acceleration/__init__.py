"""Faster: choosing a device, timing it honestly, the ladder from the slowest loop to the fastest, and the sprint."""
