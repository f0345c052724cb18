"""The small package that the lessons of "Pixels to Predictions" build and use, one word a lesson.

    pictures       photographs, tensors, drawing                            lesson 1
    convolution    windows that slide over a picture                        lesson 2
    data           sets of pictures: where they are, splits, batches        lessons 3 and 5
    models         the networks of the course                               lessons 3, 4 and 7
    training       fit, evaluate, history, checkpoints                      lesson 3
    diagnosis      what a network gets wrong, and where it looks            lessons 3 and 4
    transfer       networks that others have trained                        lesson 5
    learning_rate  the range test and schedules                             lesson 6
    acceleration   timing, memory, and what makes training faster           lesson 7

    exercises      the questions at the end of each lesson                  all
    widgets        live figures, one module for each lesson                 all
    environment, figures, profiles, results    what stands around a lesson  all

Importing `course_utils` loads nothing heavy, and a module is loaded when it is first used:

    from course_utils import convolution, data, models, pictures, training
"""

from course_utils.base import threads
from course_utils.base.lazy import on_demand

threads.prepare()  # before PyTorch is loaded, which reads once how its threads shall wait

__version__ = "0.1.0"
__all__ = [  # noqa: RUF022 - in the course's order
    "pictures", "convolution", "data", "models", "training", "diagnosis", "transfer", "learning_rate", "acceleration",
    "exercises", "widgets", "environment", "figures", "profiles", "results",
]  # fmt: skip
__getattr__, __dir__ = on_demand(__name__, __all__)
