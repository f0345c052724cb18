"""`course check`: which exercises of learners' notebooks are right, wrong, not attempted, or end in an error.

    submissions   finds the notebooks and reads them into memory, before any answer runs
    referee       hands them to judging processes, side by side, and replaces one that does not answer
    judge         such a process: PyTorch is imported once, then one notebook after the other is judged
    answers       cuts out of a notebook the few statements that an answer needs
    template      the process of which each call gets a copy (fork); it has never held a solution
    sandbox       makes the answer a function: each call runs in such a copy, which then ends
    confinement   what such a copy may do: use some memory, write some files in a folder that is removed; no more
    messages      what the answer returned and changed (`arguments`), brought back as plain data, never unpickled
    report        the table, CSV and JSON

No notebook is run as a whole, and none is changed. The checks of `course_utils.exercises` run in the judge, on what
comes back as data; so nothing that an answer redefines, patches, prints or writes makes it right. An answer that asks
for the course's own solution is named. One thing no judge can see: whether a right answer was copied from elsewhere.

On Linux (Landlock and seccomp) an answer can write only to its folder, start no process, signal none, reach no network,
and read neither the solutions nor the other notebooks handed in. Elsewhere only the limits of time, memory and size
hold, and the command says so. Other files can be read: for people whom you do not trust, use an account or a container
without secrets.
"""
