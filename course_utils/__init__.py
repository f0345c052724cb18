"""The small package that the lessons of "Pixels to Predictions" build and use.

Importing `course_utils` loads nothing heavy; import the module you need:

    from course_utils import convolution, data, models, pictures, training
"""

__version__ = "0.1.0"
