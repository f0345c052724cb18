"""What a trained network gets right and wrong: per class, class against class, picture by picture, layer by layer.

Each function computes and returns a result; the result's `plot()` draws it.
"""

from course_utils.diagnosis.grad_cam import GradCam, grad_cam
from course_utils.diagnosis.maps import FeatureMaps, feature_maps
from course_utils.diagnosis.mistakes import Mistakes, mistakes
from course_utils.diagnosis.pca import PCA, layer_outputs, pca
from course_utils.diagnosis.scores import ConfusionMatrix, PerClass, confusion_matrix, per_class, top_k

__all__ = [
    "PCA",
    "ConfusionMatrix",
    "FeatureMaps",
    "GradCam",
    "Mistakes",
    "PerClass",
    "confusion_matrix",
    "feature_maps",
    "grad_cam",
    "layer_outputs",
    "mistakes",
    "pca",
    "per_class",
    "top_k",
]
