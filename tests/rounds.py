"""How much is run of what repeats: a little each time, and all of it with COURSE_WEEKLY=1, as once a week in CI."""

import os

WEEKLY = os.environ.get("COURSE_WEEKLY") == "1"
