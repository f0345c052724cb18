"""What everything else builds on: small helpers that know nothing of the course's ideas and import none of them."""
