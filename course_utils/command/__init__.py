"""Everything behind the `course` command: running, building, checking. Nothing outside this folder imports it."""
