"""The questions at the end of each lesson: checks, hints by degree, solutions. One module per lesson, one object each.

exercises.lesson1.from_hex.check(from_hex)

A lesson's module is loaded when it is first used.
"""

from course_utils.base.lazy import on_demand

__all__ = ["appendix", "appendix_b", "lesson1", "lesson2", "lesson3", "lesson4", "lesson5", "lesson6", "lesson7"]
__getattr__, __dir__ = on_demand(__name__, __all__)
