"""What a trained network gets right and wrong: per class, class against class, picture by picture, layer by layer.

Each function computes and returns a result; the result's `plot()` draws it.
"""

from course_utils.diagnosis.grad_cam import GradCam, grad_cam, overlay
from course_utils.diagnosis.maps import FeatureMaps, feature_maps
from course_utils.diagnosis.mistakes import Mistakes, mistakes
from course_utils.diagnosis.one_by_one import OneByOne, one_by_one
from course_utils.diagnosis.pca import PCA, layer_outputs, pca
from course_utils.diagnosis.scores import ConfusionMatrix, PerClass, confusion_matrix, per_class, top_k

__all__ = [
    "PCA",
    "ConfusionMatrix",
    "FeatureMaps",
    "GradCam",
    "Mistakes",
    "OneByOne",
    "PerClass",
    "confusion_matrix",
    "feature_maps",
    "grad_cam",
    "layer_outputs",
    "mistakes",
    "one_by_one",
    "overlay",
    "pca",
    "per_class",
    "top_k",
]
