"""The questions at the end of each lesson: checks, hints by degree, solutions. One module per lesson, one object each.

exercises.lesson1.from_hex.check(from_hex)
"""

from course_utils.exercises import appendix, lesson1, lesson2, lesson3, lesson4, lesson5, lesson6, lesson7

__all__ = ["appendix", "lesson1", "lesson2", "lesson3", "lesson4", "lesson5", "lesson6", "lesson7"]
