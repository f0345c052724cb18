"""Which cells of a notebook must run so that others can: by the names that they give and take."""

from collections.abc import Callable, Sequence

from course_utils.command.grading.answers import statements


def needed(sources: Sequence[str], wanted: Callable[[str], bool]) -> list[int]:
    """Return the numbers of the cells for which `wanted` holds, and of those before them that give a name they take.

    What a function changes in what it is given is not seen: a network that only its training fills with weights stays
    as it was made. Nor does `figures.show(fig)` change what has been imported.
    """
    found, broken = statements(enumerate(sources))
    assert not broken, broken
    imported = {name for statement in found if statement.imports for name in statement.binds}
    later: set[str] = set()  # names that chosen functions take when they are called, wherever these are given
    while True:
        chosen, missing, before = [], set(later), len(later)
        for number in reversed(range(len(sources))):
            own = [statement for statement in found if statement.cell == number]
            if wanted(sources[number]) or any(missing & (each.binds | each.changes - imported) for each in own):
                chosen.append(number)
                for each in reversed(own):
                    missing = missing - each.binds | each.uses
                    later |= each.uses if each.function else set()
        if len(later) == before:
            return chosen[::-1]
