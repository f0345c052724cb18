"""`course check`: which exercises of learners' notebooks are right, wrong, not attempted, or end in an error.

submissions.find() and read() take the notebooks into memory; referee.judge_all() judges them; report shows and saves.

No notebook is run. `answers` cuts out of each the few statements that an answer needs, a process of its own runs these
(`sandbox`, within the bounds of `confinement`), and what it gives comes back as plain data (`messages`, `arguments`).
The comparison with the reference happens here, out of the answer's reach. On Linux an answer can write only to a folder
that is removed afterwards, signal no other process, and open no TCP connection. Elsewhere it may do what the user may
do, and reading is not restricted anywhere: for people whom you do not trust, use a throw-away account or a container.
"""
