"""Stand on a network that others have trained: backbones, freezing, heads, cached features, saving (from lesson 5)."""

from course_utils.transfer.backbones import Guess, Network, backbone, find_head
from course_utils.transfer.features import FeatureBatches, Features, cached_features
from course_utils.transfer.freezing import Stage, freeze, param_groups, stages, summary, unfreeze
from course_utils.transfer.heads import published_head, replace_head
from course_utils.transfer.preprocess import Preprocess
from course_utils.transfer.saving import load_network, save_network

__all__ = [
    "FeatureBatches",
    "Features",
    "Guess",
    "Network",
    "Preprocess",
    "Stage",
    "backbone",
    "cached_features",
    "find_head",
    "freeze",
    "load_network",
    "param_groups",
    "published_head",
    "replace_head",
    "save_network",
    "stages",
    "summary",
    "unfreeze",
]
