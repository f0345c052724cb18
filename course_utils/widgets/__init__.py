"""Explorations: live figures with sliders, each with a static twin for places where no kernel answers.

A lesson's cell ends with one, such as widgets.lesson1.channel_mixer("coffee"). A lesson's module is loaded when it is
first used.
"""

from course_utils.base.lazy import on_demand

__all__ = ["appendix_b", "lesson1", "lesson2", "lesson3", "lesson4", "lesson5", "lesson6", "lesson7"]
__getattr__, __dir__ = on_demand(__name__, __all__)
