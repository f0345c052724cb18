"""Explorations: live figures with sliders, each with a static twin for places where no kernel answers.

A lesson's cell ends with one, such as widgets.lesson1.channel_mixer("coffee").
"""

from course_utils.widgets import lesson1, lesson2, lesson3, lesson4, lesson5, lesson6, lesson7

__all__ = ["lesson1", "lesson2", "lesson3", "lesson4", "lesson5", "lesson6", "lesson7"]
