"""What a trained network gets right and wrong: per class, class against class, picture by picture, layer by layer.

Each function computes and returns a result; the result's `plot()` draws it.
"""

from course_utils.diagnosis.grad_cam import GradCam, grad_cam
from course_utils.diagnosis.maps import FeatureMaps, feature_maps
from course_utils.diagnosis.mistakes import Mistakes, mistakes
from course_utils.diagnosis.pca import Projection, layer_outputs, project
from course_utils.diagnosis.scores import Confusion, PerClass, confusion, per_class, top_k

__all__ = [
    "Confusion",
    "FeatureMaps",
    "GradCam",
    "Mistakes",
    "PerClass",
    "Projection",
    "confusion",
    "feature_maps",
    "grad_cam",
    "layer_outputs",
    "mistakes",
    "per_class",
    "project",
    "top_k",
]
