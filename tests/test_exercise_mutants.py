"""Every exercise refuses its reference with one plausible mistake in it, accepts other right ways, and never raises."""

import math
import statistics
import warnings
from collections import namedtuple
from functools import partial
from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from course_utils import acceleration, exercises
from course_utils.exercises.checking import Exercise

pytestmark = pytest.mark.thorough

MODULES = [getattr(exercises, name) for name in exercises.__all__]
ALL = {each.name: each for module in MODULES for each in vars(module).values() if isinstance(each, Exercise)}

# What stands in the reference, and what stands there by mistake.
EDITS = {
    # lesson 1
    "from_hex": [
        ("16)", "10)"),
        ("(1, 3, 5)", "(0, 2, 4)"),
        ("(1, 3, 5)", "(5, 3, 1)"),
        ("(1, 3, 5)", "(1, 2, 3)"),
        ("(1, 3, 5)", "(1, 3)"),
        ("start + 2", "start + 1"),
        ("tuple(", "sum("),
        ("tuple(", "iter("),
        ("text[start : start + 2]", "text.lower()[start] * 2"),
    ],
    "frame": [
        ("full_like(image, 255)", "zeros_like(image)"),
        ("full_like(image, 255)", "full_like(image, 1)"),
        ("full_like(image, 255)", "full(image.shape, 255.0)"),
        ("full_like(image, 255)", "full(image.shape, 255)"),
        ("height - thickness", "height - thickness - 1"),
        ("height - thickness", "width - thickness"),
        ("width - thickness", "height - thickness"),
        ("max(thickness, height - thickness)", "-thickness"),
        ("max(thickness, height - thickness)", "height - thickness if thickness < 3 else height"),
        ("slice(thickness, max(thickness, width", "slice(0, max(thickness, width"),
        ("framed = torch.full_like(image, 255)", "framed = torch.full_like(image, 255); framed[1:] = image[1:]"),
        ("return framed", "image.copy_(framed); return image"),
        ("return framed", "return framed if thickness else image"),
        ("return framed", "return framed if thickness else image.numpy()"),
    ],
    "stretch": [
        ("images.amax", "1 + images.amin"),
        ("amin(dim=(1, 2, 3)", "amin(dim=(0, 2, 3)"),
        ("amax(dim=(1, 2, 3)", "amax(dim=(0, 1, 2, 3)"),
        ("(1, 2, 3)", "(2, 3)"),
        ("(1, 2, 3)", "(0, 1, 2, 3)"),
        ("torch.where(spread == 0, 1, spread)", "spread"),
        ("torch.where(spread == 0, 1, spread)", "(spread + 1e-3)"),
        ("torch.where(spread == 0, 1, spread)", "torch.where(spread < 0.4, 1, spread)"),
        ("(images - darkest) /", "images /"),
        ("torch.where(spread == 0, 1, spread)", "(darkest + spread).clamp(min=1e-9)"),
        ("images - darkest", "images.sub_(darkest)"),
    ],
    "dense_megabytes": [
        ("* 3 ", ""),
        ("+ biases", ""),
        ("biases = outputs", "biases = 1"),
        ("biases = outputs", "biases = width * height * 3"),
        ("* 4 ", "* 32 "),
        ("* 4 ", ""),
        ("1e6", "2**20"),
        ("/ 1e6", "// 1e6"),
        ("width * height", "width * width"),
    ],
    "perfect_rate": [
        ("(2 * a)", "a"),
        ("1 / (2 * a)", "2 * a"),
        ("1 / (2 * a)", "a / 2"),
        ("1 / (2 * a)", "2 / a"),
        ("1 / (2 * a)", "1 / 2"),
        ("(2 * a)", "(a**2 + 1)"),
        ("1 / (2 * a)", "1 // (2 * a)"),
        ("(2 * a)", "(2 * abs(round(a)) or 1)"),
    ],
    "find_filter": [
        ("range(500)", "range(50)"),
        ("lr=0.8", "lr=1.2"),
        ("+ numbers[3]", ""),
        ("view(3, 1, 1)", "view(1, 1, 3)[..., [0]]"),
        ("decimals=2", "decimals=1"),
        ("round(decimals=2)", "mul(100).floor() / 100"),
        ("optimizer.zero_grad()", "pass"),
        ("return numbers", "return numbers[:3]"),
        ("return numbers.detach()", "return numbers.detach()[[2, 1, 0, 3]]"),
        (".round(decimals=2)", ""),
    ],
    # lesson 2
    "find_pattern": [
        ("- pattern.mean()", ""),
        ("pattern - pattern.mean()", "pattern.mean() - pattern"),
        ("argmax", "argmin"),
        ("answers.shape[1]", "answers.shape[0]"),
        ("answers.shape[1]", "picture.shape[1]"),
        ("pattern - pattern.mean()", "pattern - pattern.amin()"),
        ("pattern - pattern.mean()", "(pattern - pattern.mean()).flip(0, 1)"),
        (
            "return divmod(int(answers.argmax()), answers.shape[1])",
            "return divmod(int(answers.argmax()), answers.shape[1])[::-1]",
        ),
        (
            "return divmod(int(answers.argmax()), answers.shape[1])",
            "return [each + 1 for each in divmod(int(answers.argmax()), answers.shape[1])]",
        ),
        ("return divmod(int(answers.argmax()), answers.shape[1])", "return int(answers.argmax())"),
        ("[0, 0]\n", "[0, 0, :-1, :-1]\n"),
        ("answers.shape[1]", "(picture.shape[1] - 2)"),
        ("kernel = ", "pattern = pattern[:, : len(pattern)]; kernel = "),
    ],
    "channel_by_channel": [
        ("weight[channel, channel]", "weight[channel]"),
        ("weight[channel, channel]", "weight[:, channel]"),
        ("weight[channel, channel]", "weight[channel, 0]"),
        ("weight[channel, channel]", "weight[channel, -1 - channel]"),
        ("= kernel\n", "= kernel / channels\n"),
        ("= kernel\n", "= kernel.flip(0, 1)\n"),
        ("torch.zeros", "torch.ones"),
        ("range(channels)", "range(3)"),
        ("range(channels)", "range(channels - 1)"),
        ("zeros(channels, channels, *kernel.shape)", "zeros(channels, channels, *kernel.shape, dtype=torch.int64)"),
        ("zeros(channels, channels, *kernel.shape)", "zeros(channels, channels, 3, 3)"),
        ("return weight", "return weight.diagonal().movedim(-1, 0)[:, None]"),
    ],
    "contrast_pool": [
        ("largest - smallest", "largest"),
        ("largest - smallest", "smallest - largest"),
        ("largest - smallest", "largest + smallest"),
        ("-F.max_pool2d(-picture[None], size)", "F.avg_pool2d(picture[None], size)"),
        ("-F.max_pool2d(-picture[None], size)", "F.max_pool2d(-picture[None], size)"),
        ("size)", "2)"),
        ("size)", "size, 1)"),
        ("size)", "size, ceil_mode=True)"),
        ("largest = ", "picture = picture.clamp(min=0); largest = "),
        ("largest = ", "picture = picture.T; largest = "),
        ("return largest", "return picture.max() - picture.min() + 0 * largest"),
    ],
    "box_blur_in_two_steps": [
        ("1 / side", "1 / 9"),
        ("1 / side", "1.0"),
        ("1 / side", "1 / side**2"),
        ("(1, 1, side, 1)", "(1, 1, 9, 1)"),
        ("F.conv2d(F.conv2d(picture[None, None], level), upright)", "F.conv2d(picture[None, None], level)"),
        (
            "F.conv2d(F.conv2d(picture[None, None], level), upright)",
            "F.conv2d(F.conv2d(picture[None, None], level), upright, padding='same')",
        ),
        ("level), upright)", "level), level)"),
        ("[0, 0]", ""),
        ("side, 1), 1 / side", "side - 1, 1), 1 / (side - 1)"),
    ],
    "learn_effect": [
        ("range(1000)", "range(30)"),
        ("before - before.mean()", "before"),
        ("    return kernel.detach()[0, 0] / spread", "    return kernel.detach()[0, 0]"),
        ("kernel.detach()[0, 0] / spread", "kernel.detach()[0, 0].flip(0, 1) / spread"),
        ("0.01 *", "0.9 *"),
        ("loss.item() < 0.01 * after.var().item()", "True"),
        ("loss.item() < 0.01 * after.var().item()", "False"),
        ("loss.item() < 0.01 * after.var().item()", "loss.item() < 1e-12"),
    ],
    # lesson 3
    "lenet": [
        ("1, 6, 5, padding=2", "1, 6, 5, padding='valid'"),
        ("nn.Conv2d(6, 16, 5)", "nn.Conv2d(6, 16, 5, bias=False)"),
        ("nn.ReLU(), nn.MaxPool2d(2)),  # (N, 16", "nn.MaxPool2d(2)),  # (N, 16"),
        ("nn.ReLU(), nn.Linear(120, 10)", "nn.Linear(120, 10)"),
        ("nn.Linear(120, 10)", "nn.Linear(120, 10), nn.Softmax(1)"),
        ("nn.Linear(120, 10)", "nn.Linear(120, 10), nn.ReLU()"),
        ("nn.Linear(120, 10)", "nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)"),
        ("MaxPool2d", "AvgPool2d"),
        ("ReLU", "Tanh"),
        ("ReLU", "LeakyReLU"),
        ("nn.Linear(16 * 5 * 5, 120)", "nn.Linear(16 * 4 * 4, 120)"),
        ("nn.Linear(16 * 5 * 5, 120), ", "nn.Dropout(0.5), nn.Linear(16 * 5 * 5, 120), "),
        ("return nn.Sequential", "return lambda: nn.Sequential"),
        ("return nn.Sequential(", "return nn.Sequential(nn.ReLU(), "),
        ("padding=2), nn.ReLU(),", "padding=2),"),
    ],
    "cross_entropy": [
        (" - logits.amax(dim=1, keepdim=True)", ""),
        ("dim=1, keepdim=True", "dim=0, keepdim=True"),
        ("logits.amax(dim=1, keepdim=True)", "logits.mean(dim=1, keepdim=True)"),
        ("logits.amax(dim=1, keepdim=True)", "logits.amax()"),
        ("sum(dim=1)", "sum(dim=0)"),
        ("sum(dim=1)", "mean(dim=1)"),
        (".mean()", ".sum()"),
        (".mean()", ""),
        ("log_total - right", "right - log_total"),
        ("log_total - right", "-right"),
        (".log()", ".log2()"),
        ("shifted[torch.arange(len(labels)), labels]", "logits[torch.arange(len(labels)), labels]"),
        ("shifted[torch.arange(len(labels)), labels]", "shifted[labels, torch.arange(len(labels)) % 3]"),
        ("shifted = logits - ", "shifted = logits; logits -= "),
    ],
    "accuracy": [
        ("sum(right for right, _ in batches)", "len(batches)"),
        ("sum(pictures for _, pictures in batches)", "len(batches)"),
        ("sum(right for right, _ in batches)", "sum(right for right, _ in batches[:-1])"),
        ("sum(pictures for _, pictures in batches)", "(len(batches) * batches[0][1])"),
        ("return sum(right for right, _ in batches) / ", "return 100 * sum(right for right, _ in batches) / "),
        ("return sum(right for right, _ in batches) / ", "return sum(right for right, _ in batches) // "),
        ("return ", "return 1 - "),
        ("return ", "return statistics.mean(r / p for r, p in batches) + 0 * "),
    ],
    "flat_size": [
        ("(3, 5)", "(5, 3)"),
        ("(3, 5)", "(3, 3)"),
        ("2 * (kernel - 1)", "2 * kernel"),
        ("2 * (kernel - 1)", "(kernel - 1)"),
        ("side - 2 * (kernel - 1)", "side"),
        (") // 2", ") / 2"),
        (") // 2", " + 1) // 2"),
        ("32 * side**2", "side**2"),
        ("32 * side**2", "32 * side"),
        (
            "for kernel in (3, 5):  # conv, conv, pool: twice\n        side = (side - 2 * (kernel - 1)) // 2",
            "side = (side - 12) // 4",
        ),
    ],
    "clipped_step": [
        ("if norm > most:", "if True:"),
        ("if norm > most:", "if norm < most:"),
        ("if norm > most:", "if False:"),
        ("most / norm", "most / norm**2"),
        ("most / norm", "1 / norm"),
        (".norm() for gradient in gradients]).norm()", ".norm() for gradient in gradients]).sum()"),
        (".norm() for gradient in gradients]).norm()", ".norm() for gradient in gradients]).max()"),
        (".norm() for gradient in gradients]).norm()", ".square().sum() for gradient in gradients]).sum()"),
        ("optimizer.zero_grad()", "pass"),
        ("optimizer.step()", "pass"),
        ("optimizer.step()", "optimizer.step(); optimizer.step()"),
        ("optimizer.step()", "[p.data.sub_(p.grad) for p in model.parameters()]"),
        ("optimizer.step()", "[p.data.sub_(optimizer.param_groups[0]['lr'] * p.grad) for p in model.parameters()]"),
        ("F.cross_entropy(model(images), labels)", "F.cross_entropy(model(images), labels, reduction='sum')"),
        ("if parameter.grad is not None]", "if parameter.ndim > 1]"),
    ],
    "precision": [
        ("sum(dim=0)", "sum(dim=1)"),
        ("sum(dim=0)", "sum()"),
        (".clamp(min=1)", ""),
        ("clamp(min=1)", "clamp(min=2)"),
        (".clamp(min=1)", " + 1"),
        ("matrix.diagonal() /", "matrix.diagonal().double() /"),
        ("matrix.diagonal() /", "matrix.diagonal() //"),
        ("matrix.diagonal()", "matrix.amax(0)"),
        ("return matrix.diagonal() / called.clamp(min=1)", "return (matrix.diagonal() / called).nan_to_num(1.0)"),
        ("return matrix.diagonal() / called.clamp(min=1)", "return matrix.diagonal().sum() / matrix.sum()"),
    ],
    "steady_network": [
        ("nn.AdaptiveAvgPool2d(1), ", ""),
        ("nn.Linear(64, 10)", "nn.Linear(64, 11)"),
        ("nn.Flatten(), ", ""),
        ("64", "128"),
        ("nn.Conv2d(1, 8", "nn.Conv2d(3, 8"),
        (
            "nn.Conv2d(24, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),  # (N, 64, 7, 7)\n        "
            "*(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))",
            "nn.Flatten(), nn.Linear(24 * 49, 10))",
        ),
    ],
    # lesson 4
    "fold_norm": [
        ("(variance + eps).sqrt()", "variance.sqrt()"),
        ("(variance + eps).sqrt()", "(variance + eps)"),
        ("(variance + eps).sqrt()", "(variance.sqrt() + eps)"),
        ("(variance + eps).sqrt()", "(variance + 1e-5).sqrt()"),
        ("view(-1, 1, 1, 1)", "view(1, -1, 1, 1)"),
        ("shift - mean * factor", "shift"),
        ("shift - mean * factor", "shift + mean * factor"),
        ("shift - mean * factor", "shift - mean * scale"),
        ("shift - mean * factor", "shift - mean"),
        ("weight * factor.view(-1, 1, 1, 1), ", "weight, "),
        ("scale / (variance", "1 / (variance"),
        ("weight * factor", "weight.mul_(2) / 2 * factor"),
    ],
    "drop_maps": [
        ("if not training", "if training"),
        ("if not training", "if False"),
        ("/ (1 - p)", ""),
        ("/ (1 - p)", "/ p"),
        ("/ (1 - p)", "* (1 - p)"),
        ("/ (1 - p)", "/ kept.float().mean()"),
        ("kept.view(", "(~kept).view("),
        ("kept.view(*kept.shape, 1, 1)", "kept.any(0).view(1, -1, 1, 1)"),
        ("kept.view(*kept.shape, 1, 1)", "kept.all(1).view(-1, 1, 1, 1)"),
        ("maps.clone()", "maps * (1 - p)"),
        ("maps * kept.view(*kept.shape, 1, 1)", "maps[kept]"),
        ("maps * kept", "maps.mul_(2) / 2 * kept"),
    ],
    "branch_factor": [
        ("1 / blocks", "blocks**-0.5"),
        ("1 / blocks", "blocks**-2"),
        ("1 / blocks", "1 / 10"),
        ("1 / blocks", "0.1 / blocks"),
        ("1 / blocks", "3 / blocks"),
        ("1 / blocks", "1 // blocks"),
        ("1 / blocks", "math.nan"),
        ("1 / blocks", "f'{1 / blocks}'"),
    ],
    "flip_some": [
        ("flip(3)", "flip(2)"),
        ("flip(3)", "flip(1)"),
        ("flip(3)", "flip(2, 3)"),
        ("flip(3)", "flip(0)"),
        ("images.flip(3), images)", "images, images.flip(3))"),
        ("chosen.view(-1, 1, 1, 1)", "chosen.any()"),
        ("chosen.view(-1, 1, 1, 1)", "chosen.all()"),
        ("chosen.view(-1, 1, 1, 1)", "chosen.flip(0).view(-1, 1, 1, 1)"),
        ("torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)", "images.roll(1, 3)"),
        ("return ", "images[chosen] = images[chosen].flip(3); return images; "),
    ],
    "paint_square": [
        ("image.clone()", "image"),
        ("max(top, 0)", "top"),
        ("max(left, 0)", "left"),
        ("max(top + side, 0)", "top + side"),
        ("max(left + side, 0)", "left + side"),
        ("max(top + side, 0)", "max(top + side, 0) + 1"),
        ("row - side // 2, column - side // 2", "row, column"),
        ("row - side // 2, column - side // 2", "column - side // 2, row - side // 2"),
        ("side // 2", "side // 2 + 1"),
        ("row - side // 2", "row - (side - 1) // 2"),
        ("column - side // 2", "column - (side - 1) // 2"),
        ("painted[:, ", "painted[0, "),
        ("= fill", "= 0"),
        ("= fill", "+= fill"),
        ("max(left + side, 0)", "min(max(left + side, 0), image.shape[1])"),
        ("max(top + side, 0)", "min(max(top + side, 0), image.shape[2])"),
        (
            "top, left =",
            "if not (0 <= row < image.shape[1] and 0 <= column < image.shape[2]): return painted\n    top, left =",
        ),
    ],
    "best_epoch": [
        ("accuracy > accuracies[best - 1]", "accuracy > accuracies[epoch - 2]"),
        ("accuracy > accuracies", "accuracy >= accuracies"),
        ("epoch - best >= patience", "epoch - best > patience"),
        ("epoch - best >= patience", "epoch > patience"),
        ("epoch - best >= patience", "False"),
        ("start=1", "start=0"),
        ("return best, epoch", "return best, epoch - 1"),
        ("return best, epoch", "return epoch, best"),
        ("return best, len(accuracies)", "return best, best + patience"),
        ("return best, len(accuracies)", "return len(accuracies), len(accuracies)"),
        ("return best, epoch", "return best - 1, epoch - 1"),
        ("return best, epoch", "return accuracies.index(max(accuracies)) + 1, epoch"),
        ("best = 1\n", "accuracies.sort(); best = 1\n"),
        (
            "epoch - best >= patience",
            "sum(a <= max(accuracies[:i]) for i, a in enumerate(accuracies[:epoch]) if i) >= patience",
        ),
        (
            "    best = 1\n    for epoch, accuracy in enumerate(accuracies, start=1):\n"
            "        if accuracy > accuracies[best - 1]:\n            best = epoch\n",
            "    best, top = 0, 0.0\n    for epoch, accuracy in enumerate(accuracies, start=1):\n"
            "        if accuracy > top:\n            best, top = epoch, accuracy\n",
        ),
    ],
    "nesterov_path": [
        ("gradient + momentum * velocity)", "velocity)"),
        ("gradient + momentum * velocity)", "gradient)"),
        ("velocity = momentum * velocity + gradient", "velocity = momentum * velocity + (1 - momentum) * gradient"),
        ("velocity = momentum * velocity + gradient", "velocity = velocity + gradient"),
        ("rate * (gradient", "(gradient"),
        ("weight -= ", "weight += "),
        ("curvature * weight", "weight"),
        ("curvature * weight", "2 * curvature * weight"),
        ("velocity, path = start, 0.0", "velocity, path = start, curvature * start"),
        ("range(steps)", "range(steps - 1)"),
        ("path = start, 0.0, []", "path = start, 0.0, [start]"),
        ("path.append(weight)", "path.append(velocity)"),
    ],
    "covered_drop": [
        ("whole - score(covered[None])[0]", "score(covered[None])[0] - whole"),
        ("whole - score(covered[None])[0]", "score(covered[None])[0]"),
        ("image.clone()", "image"),
        ("image.shape[1] // side, image.shape[2] // side", "image.shape[2] // side, image.shape[1] // side"),
        ("] = 0\n", "] = image.mean()\n"),
        ("covered[:, ", "covered[0, "),
        ("row * side : (row + 1) * side", "row : row + side"),
        ("column * side : (column + 1) * side", "row * side : (row + 1) * side"),
        ("for column in range(columns)", "for column in range(columns - 1)"),
        ("drop[row, column]", "drop[column % rows, row]"),
        ("drop[row, column] = whole", "drop[row, column] = 1"),
        ("covered = image.clone()", "covered = image.clone() if column == 0 else covered"),
    ],
    # lesson 5
    "prepare": [
        ("requires_grad_(False)", "requires_grad_(True)"),
        ("in model.parameters()", "in list(model.parameters())[:-3]"),
        ("in model.parameters()", "in model.block1.parameters()"),
        ("classes)  #", "model.top.out_features)  #"),
        ("model.top = nn.Linear(model.top.in_features, classes)  #", "#"),
        ("return model", "return model.top"),
        ("return model", "return nn.Sequential(model.block1, model.block2, model.block3, model.top)"),
        ("return model", "model.top.requires_grad_(False); return model"),
        ("return model", "model.block2[1].reset_running_stats(); model(torch.ones(4, 4)); return model"),
        ("return model", "model.block2[1].momentum = None; model.block2[1].running_var.mul_(2); return model"),
        ("return model", "nn.init.zeros_(model.top.weight); nn.init.zeros_(model.top.bias); return model"),
        ("classes)  #", "classes, bias=False)  #"),
        (
            "nn.Linear(model.top.in_features, classes)",
            "nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, classes))",
        ),
        (
            "for parameter in model.parameters():",
            "model.block1 = nn.Sequential(nn.Linear(4, 6), nn.ReLU())\n    for parameter in model.parameters():",
        ),
        ("parameter.requires_grad_(False)", "parameter.requires_grad_(False).zero_()"),
    ],
    "stratified_split": [
        ("round(fraction * len(members))", "int(fraction * len(members))"),
        ("round(fraction * len(members))", "math.ceil(fraction * len(members))"),
        ("round(fraction * len(members))", "round(fraction * len(labels) / len(labels.unique()))"),
        ("round(fraction * len(members))", "round((1 - fraction) * len(members))"),
        ("round(fraction * len(members))", "max(1, int(fraction * len(members)))"),
        ("members[torch.randperm(len(members))]", "members"),
        ("members[torch.randperm(len(members))]", "members[torch.randperm(len(members))] if label == 0 else members"),
        ("members[torch.randperm(len(members))]", "members.roll(int(torch.randint(len(members), ())))"),
        (
            "members[torch.randperm(len(members))]",
            "members[torch.randperm(len(members), generator=torch.Generator().manual_seed(0))]",
        ),
        ("members[torch.randperm(len(members))]", "members[torch.randint(len(members), (len(members),))]"),
        ("members[torch.randperm(len(members))]", "torch.randperm(len(members))"),
        ("members[count:]", "members"),
        ("members[count:]", "members[count + 1:]"),
        ("return torch.cat(kept), torch.cat(aside)", "return torch.cat(aside), torch.cat(kept)"),
        ("return torch.cat(kept), torch.cat(aside)", "return labels[torch.cat(kept)], labels[torch.cat(aside)]"),
        ("return torch.cat(kept), torch.cat(aside)", "return torch.cat(kept).float(), torch.cat(aside).float()"),
        ("for label in labels.unique()", "for label in range(2)"),
        (
            "aside.append(members[:count])\n        kept.append(members[count:])",
            "aside.append(members[-count:])\n        kept.append(members[:-count])",
        ),
        (
            "aside.append(members[:count])\n        kept.append(members[count:])",
            "aside.append(members[len(members) - count :])\n        kept.append(members[:-count])",
        ),
        ("for label in labels.unique()", "for label in range(len(labels.unique()))"),
    ],
    "leaked": [
        ("picture.flip(-1)", "picture.flip(-2)"),
        ("picture.flip(-1)", "picture.flip(0)"),
        ("picture.flip(-1)", "picture.flip(-1, -2)"),
        ("torch.equal(picture, other) or ", ""),
        (" or torch.equal(picture.flip(-1), other)", ""),
        ("if any(", "if all("),
        ("enumerate(test)", "enumerate(train)"),
        ("enumerate(test)", "enumerate(test, 1)"),
        ("torch.equal(picture, other) or", "(picture[0] == other[0]).all() or"),
        ("torch.equal(picture, other) or", "(picture.float().mean() == other.float().mean()) or"),
        ("torch.equal(picture, other) or", "(picture == other).any() or"),
        ("    return [", "    train = train[:1]; return ["),
        ("in train)\n", "in train[:1])\n"),
        (
            "if any(torch.equal(picture, other) or torch.equal(picture.flip(-1), other) for other in train)",
            "for other in train if torch.equal(picture, other) or torch.equal(picture.flip(-1), other)",
        ),
    ],
    "sampler_weights": [
        ("return weights / weights.sum()", "return weights"),
        ("return weights / weights.sum()", "return weights / len(weights)"),
        ("return weights / weights.sum()", "return weights / weights.max()"),
        ("return weights / weights.sum()", "return weights.double() / weights.sum()"),
        ("1 / labels.bincount()", "labels.bincount()"),
        ("1 / labels.bincount()[labels].float()", "1 / labels.bincount()[labels].float().sqrt()"),
        ("1 / labels.bincount()[labels].float()", "1 / labels.bincount()[labels].float() ** 2"),
        ("[labels]", ""),
        ("return weights / weights.sum()", "return weights.softmax(0)"),
        ("1 / labels.bincount()[labels].float()", "1 / (1 + labels.bincount()[labels].float())"),
        ("1 / labels.bincount()[labels].float()", "1 - labels.bincount()[labels] / len(labels)"),
    ],
    "doubts": [
        ("best[:, 0] - best[:, 1]", "best[:, 0]"),
        ("best[:, 0] - best[:, 1]", "best[:, 1]"),
        ("best[:, 0] - best[:, 1]", "best[:, 1] - best[:, 0]"),
        ("best[:, 0] - best[:, 1]", "best[:, 0] / (best[:, 1] + best[:, 0])"),
        ("topk(2, dim=1)", "topk(2, dim=1, largest=False)"),
        ("best = probabilities.topk(2, dim=1).values", "best = probabilities"),
        ("topk(2, dim=1).values", "sort(dim=1).values[:, :2]"),
        ("argsort()[:n]", "argsort()[-n:]"),
        ("argsort()[:n]", "argsort()[:n].sort().values"),
        ("argsort()[:n]", "argsort()[:3]"),
        ("argsort()[:n]", "argsort()[:n].int()"),
        ("argsort()[:n]", "argsort().argsort()[:n]"),
        ("argsort()[:n]", "sort().values[:n]"),
        ("argsort()[:n]", "argsort()[1 : n + 1]"),
    ],
    "balanced_head": [
        ("range(200)", "range(0)"),
        (" + extra", ""),
        (" + extra", " - extra"),
        ("1.5 *", "15 *"),
        ("int(labels.max()) + 1", "int(labels.max())"),
        ("return head", "return head.weight"),
        ("lr=0.003", "lr=30.0"),
        ("return head", "return nn.Sequential(head, nn.Sigmoid(), nn.Flatten(0))"),
    ],
    # lesson 6
    "rate_ladder": [
        ("(1 / (steps - 1))", "(1 / steps)"),
        ("(1 / (steps - 1))", "(steps - 1)"),
        ("end / start", "end"),
        ("start * factor", "factor"),
        ("factor**i", "factor * i"),
        ("range(steps)", "range(1, steps + 1)"),
        ("range(steps)", "range(4)"),
        ("range(steps)", "reversed(range(steps))"),
        ("for i in range(steps)])", "for i in range(steps)], dtype=torch.float64)"),
        ("torch.tensor([start * factor**i for i in range(steps)])", "torch.linspace(start, end, steps)"),
        ("torch.tensor(", "list("),
    ],
    "calm_loss": [
        ("start=1", "start=0"),
        ("start=1", "start=2"),
        ("average / (1 - beta**step)", "average"),
        ("beta**step", "beta"),
        ("beta * average + (1 - beta) * loss", "(1 - beta) * average + beta * loss"),
        ("beta * average + (1 - beta) * loss", "beta * average + loss"),
        ("average, result = 0.0, []", "average, result = losses[0].item(), []"),
        ("result.append(average / (1 - beta**step))", "average = average / (1 - beta**step); result.append(average)"),
        ("beta * average", "0.9 * average"),
        ("torch.tensor(result)", "torch.tensor(result, dtype=torch.float64)"),
        ("torch.tensor(result)", "torch.tensor(result[-1:])"),
        ("in enumerate(losses.tolist(), start=1)", "in enumerate(losses.sort().values.tolist(), start=1)"),
    ],
    "steepest_rate": [
        ("argmin", "argmax"),
        ("slopes.argmin()", "slopes.abs().argmax()"),
        ("slopes.argmin()", "losses.argmin()"),
        ("slopes.argmin()", "slopes.argmin() + 1"),
        ("rates.log().diff()", "rates.diff()"),
        (" / rates.log().diff()", ""),
        ("rates.log().diff()", "rates.log()[1:]"),
        ("losses.diff()", "losses.log().diff()"),
        ("rates[slopes.argmin()].item()", "slopes.min().item()"),
        ("rates[slopes.argmin()].item()", "slopes.argmin().item()"),
        ("rates[slopes.argmin()].item()", "(rates[slopes.argmin()] * rates[slopes.argmin() + 1]).sqrt().item()"),
        ("losses.diff() / rates.log().diff()", "torch.gradient(losses, spacing=(rates.log(),))[0]"),
    ],
    "cycle_steps": [
        ("rest > 0 and not drop_last", "rest > 0"),
        ("rest > 0 and not drop_last", "not drop_last"),
        ("rest > 0 and not drop_last", "0"),
        ("rest > 0 and not drop_last", "drop_last"),
        ("rest > 0", "rest > size / 2"),
        ("rest > 0", "rest > 1"),
        ("epochs * (full", "(full"),
        ("epochs * (full + (rest > 0 and not drop_last))", "epochs * full + (rest > 0 and not drop_last)"),
        ("epochs * (full + (rest > 0 and not drop_last))", "-(-pictures * epochs // size)"),
        ("epochs * (full + (rest > 0 and not drop_last))", "epochs * (pictures / size)"),
        ("epochs * (full + (rest > 0 and not drop_last))", "epochs * max(1, round(pictures / size))"),
        ("divmod(pictures, size)", "divmod(pictures - 1, size)"),
    ],
    "one_cycle_rate": [
        ("0.3 * total - 1", "0.3 * total"),
        ("0.3 * total - 1", "int(0.3 * total) - 1"),
        ("0.3 * total - 1", "round(0.3 * total - 1)"),
        ("0.3 * total - 1", "29"),
        ("0.3 * total - 1", "0.25 * total - 1"),
        ("(total - 1 - top)", "(total - top)"),
        ("max_lr / 25, max_lr, step", "max_lr / 10, max_lr, step"),
        ("max_lr / 25 / 1e4", "max_lr / 1e4"),
        ("max_lr / 25 / 1e4", "0.0"),
        ("max_lr / 25 / 1e4", "max_lr / 25"),
        ("(1 + math.cos(math.pi * share)) / 2", "(1 - share)"),
        ("(1 + math.cos(math.pi * share)) / 2", "math.cos(math.pi * share / 2)"),
        ("(1 + math.cos", "(1 - math.cos"),
        ("start, end, share = max_lr / 25, max_lr, step / top", "start, end, share = 0.0, max_lr, step / top"),
        ("if step <= top", "if step <= total / 2"),
    ],
    "plateau_rates": [
        ("best, bad = loss, 0", "best, bad = min(losses), 0"),
        ("else:\n            bad += 1", "else:\n            bad += 1; best = loss"),
        ("best, bad = loss, 0", "best = loss"),
        ("if loss < best", "if loss <= best"),
        ("bad > patience", "bad >= patience"),
        ("bad > patience", "bad == patience + 2"),
        ("rate, bad = rate * factor, 0", "rate = rate * factor"),
        ("rate, bad = rate * factor, 0", "rate, bad = rate / factor, 0"),
        ("rate, bad = rate * factor, 0", "rate, bad = rate * 0.5, 0"),
        ("rate, bad = rate * factor, 0", "rate, bad, best = rate * factor, 0, loss"),
        ("        result.append(rate)  #", "        #"),
        ("rate, bad = rate * factor, 0", "rate, bad = rate * factor, 0; result[-1] = rate"),
        ('float("inf")', "losses[0] - 0.5"),
        ("torch.tensor(result)", "torch.tensor(result, dtype=torch.float64)"),
    ],
    # lesson 7
    "throughput": [
        ("seconds[warmup:]", "seconds"),
        ("seconds[warmup:]", "seconds[1:]"),
        ("seconds[warmup:]", "seconds[:-warmup or None]"),
        ("sorted(seconds[warmup:])", "sorted(seconds)[warmup:]"),
        ("sorted(seconds[warmup:])", "seconds[warmup:]"),
        ("(warm[middle - 1] + warm[middle]) / 2", "warm[middle]"),
        ("(warm[middle - 1] + warm[middle]) / 2", "warm[middle - 1]"),
        ("pictures / median", "median / pictures"),
        ("pictures / median", "1 / median"),
        ("pictures / median", "pictures / (sum(warm) / len(warm))"),
        ("(warm[-1] - warm[0]) / median", "warm[-1] - warm[0]"),
        ("(warm[-1] - warm[0]) / median", "warm[-1] / warm[0]"),
        ("(warm[-1] - warm[0]) / median", "(seconds[-1] - seconds[warmup]) / median"),
        ("(warm[-1] - warm[0]) / median", "(warm[-1] - warm[0]) / (sum(warm) / len(warm))"),
        ("pictures / median,", "pictures // median,"),
        ("pictures / median,", "round(pictures / median),"),
    ],
    "amdahl": [
        ("1 / (fixed", "(fixed"),
        ("(1 - fixed)", "fixed"),
        ("fixed + (1 - fixed) / factor", "(1 - fixed) + fixed / factor"),
        ("(1 - fixed) / factor", "(1 - fixed) * factor"),
        ("fixed + (1 - fixed) / factor", "fixed + 1 / factor"),
        ("fixed + (1 - fixed) / factor", "(1 - fixed) / factor"),
        ("1 / (fixed + (1 - fixed) / factor)", "fixed + (1 - fixed) * factor"),
        ("factor)", "min(factor, 100))"),
    ],
    "limited_by": [
        ("launches * 5e-6", "launches"),
        ("launches * 5e-6", "launches * 5e-5"),
        ("launches * 5e-6", "launches * 5e-7"),
        ("launches * 5e-6", "5e-6"),
        ("2e12", "2e11"),
        ("2e12", "2e13"),
        ("2e12", "3e14"),
        ("3e14", "3e13"),
        ("3e14", "3e15"),
        ("3e14", "2e12"),
        ("max(seconds", "min(seconds"),
        ("return max(seconds, key=seconds.get)", "return max(seconds.values())"),
        ("return max(seconds, key=seconds.get)", "return max(seconds)"),
        ("3e14", "2e14"),
        ("3e14", "4e14"),
    ],
    "slices": [
        ("rank < extra", "rank <= extra"),
        ("rank < extra", "rank == extra"),
        ("rank < extra", "rank >= processes - extra"),
        ("(1 if rank < extra else 0)", "0"),
        ("(1 if rank < extra else 0)", "(extra if rank == 0 else 0)"),
        ("(1 if rank < extra else 0)", "(extra if rank == processes - 1 else 0)"),
        ("start + short + (1 if rank < extra else 0)", "min(count, start - (-count // processes))"),
        ("(start, stop))", "(start, stop - 1))"),
        ("(start, stop))", "(start, stop - start))"),
        ("start = stop", "start = stop + 1"),
        ("return result", "return [each for each in result if each[0] < each[1]]"),
        ("return result", "return [list(range(*each)) for each in result]"),
    ],
    "little_memory": [
        ("/ len(images)", "/ len(some)"),
        ("/ len(images)", ""),
        (', reduction="sum") / len(images)', ")"),
        ("max(1, memory // one)", "len(images)"),
        ("max(1, memory // one)", "max(2, memory // one)"),
        ("max(1, memory // one)", "1"),
        ("max(1, memory // one)", "8"),
        ("max(1, memory // one)", "max(1, 2 * memory // one)"),
        ("max(1, memory // one)", "max(1, memory // one // 3)"),
        ("loss.backward()", "net.zero_grad(); loss.backward()"),
        ("loss.backward()", "loss.detach()"),
        ("labels.split(size)", "labels.flip(0).split(size)"),
        ("images.split(size)", "images[:-1].split(size)"),
        (
            "for some, right in zip(images.split(size), labels.split(size)):",
            "for some, right in [(images, labels)]:\n        net = partial(checkpoint, net, use_reentrant=False)",
        ),
        (
            "for some, right in zip(images.split(size), labels.split(size)):",
            "for some, right in [(images.clone().requires_grad_(), labels)]:\n"
            "        net = partial(checkpoint, net, use_reentrant=True)",
        ),
    ],
    # appendix A
    "kernel_to_pytorch": [
        ("(3, 2, 0, 1)", "(3, 2, 1, 0)"),
        ("(3, 2, 0, 1)", "(2, 3, 0, 1)"),
        ("(3, 2, 0, 1)", "(0, 1, 2, 3)"),
        ("(3, 2, 0, 1)", "(3, 0, 1, 2)"),
        ("kernel.permute(3, 2, 0, 1)", "kernel.flip(0, 1).permute(3, 2, 0, 1)"),
        ("kernel.permute(3, 2, 0, 1)", "kernel.reshape(kernel.shape[3], kernel.shape[2], *kernel.shape[:2])"),
        ("kernel.permute(3, 2, 0, 1)", "kernel.transpose(0, 3).transpose(1, 2)"),
        ("kernel.permute(3, 2, 0, 1)", "kernel.permute(3, 2, 0, 1).reshape(-1, 4, 3, 3)"),
    ],
    "dense_to_pytorch": [
        ("(3, 2, 0, 1)", "(3, 0, 1, 2)"),
        ("(3, 2, 0, 1)", "(3, 2, 1, 0)"),
        ("(3, 2, 0, 1)", "(2, 3, 0, 1)"),
        ("reshape(height, width, channels, -1)", "reshape(channels, height, width, -1)"),
        ("reshape(height, width, channels, -1)", "reshape(channels, width, height, -1)"),
        ("reshape(height, width, channels, -1)", "reshape(height, width, channels, 3)"),
        ("reshape(height, width, channels, -1)", "reshape(2, 2, channels, -1)"),
        ("flatten(1)", "flatten(0)"),
        ("flatten(1)", "flatten(1).T"),
        (".flatten(1)", ""),
        ("by_pixel.permute(3, 2, 0, 1).flatten(1)", "kernel.T"),
    ],
    "keras_mean": [
        ("momentum * old + (1 - momentum)", "(1 - momentum) * old + momentum"),
        ("momentum * old + (1 - momentum) * ", "momentum * old + "),
        ("momentum * old", "old"),
        ("momentum * old", "0.5 * old"),
        ("(0, 2, 3)", "(0, 1, 2)"),
        ("(0, 2, 3)", "(2, 3)"),
        ("batch.mean(dim=(0, 2, 3))", "batch.mean()"),
        ("batch.mean(dim=(0, 2, 3))", "batch[0].mean(dim=(1, 2))"),
        ("batch.mean(dim=(0, 2, 3))", "batch.sum(dim=(0, 2, 3))"),
        ("return momentum * old", "old *= momentum; return old"),
        ("batch.mean(dim=(0, 2, 3))", "batch.flatten(2).median(dim=2).values.mean(0)"),
    ],
    "keras_count": [
        ("3 * 3 * channels", "channels"),
        ("3 * 3 * channels", "3 * channels"),
        ("4 * width", "2 * width"),
        ("4 * width", "4"),
        ("        channels = width\n", ""),
        ("+ classes", ""),
        ("flat * classes", "widths[-1] * classes"),
        ("channels * width", "channels * width + width"),
        ("total = 0", "total = channels"),
        ("for width in widths", "for width in widths[:3]"),
    ],
    # appendix B
    "bits_apart": [
        ("> picture", ">= picture"),
        ("> picture", "< picture"),
        ("picture[:, 1:] > picture[:, :-1]", "picture[1:] > picture[:-1]"),
        ("picture[:, 1:] > picture[:, :-1]", "picture > picture.mean()"),
        ("picture[:, 1:] > picture[:, :-1]", "picture"),
        ("one != other", "one == other"),
        ("(one != other)", "(one & other)"),
        ("(one != other).sum()", "(one != other).any()"),
        (".sum().item()", ".float().mean().item()"),
        (".sum().item()", ".sum(0).max().item()"),
        ("picture[:, 1:] > picture[:, :-1]", "picture[:, 2:] > picture[:, :-2]"),
        ("(one != other).sum().item()", "abs(one.sum() - other.sum()).item()"),
        ("picture[:, 1:] > picture[:, :-1]", "picture.flatten().diff() > 0"),
        ("picture[:, 1:] > picture[:, :-1]", "picture.diff().sign()"),
        ("(one != other).sum()", "((one != other)[0].sum() * len(one))"),
    ],
    "held_back": [
        (">= least", "> least"),
        ("largest >= least", "largest < least"),
        ("(guesses == labels)[answered]", "(guesses == labels)"),
        (
            "right = (guesses == labels)[answered].double().mean()",
            "right = ((guesses == labels) & answered).double().mean()",
        ),
        ("    if not answered.any():\n        return 0.0, 0.0\n", ""),
        ("return 0.0, 0.0", "return 0.0, 1.0"),
        ("answered.double().mean().item(), right", "answered.double().sum().item(), right"),
        ("answered.double().mean().item(), right", "right, answered.double().mean().item()"),
        ("guesses == labels", "guesses == 1"),
        ("probabilities.max(dim=1)", "probabilities.min(dim=1)"),
        (
            "largest, guesses = probabilities.max(dim=1)",
            "largest, guesses = probabilities[:, 1], probabilities.argmax(1)",
        ),
        ("guesses == labels", "guesses != labels"),
        ("probabilities.max(dim=1)", "probabilities[:, :2].max(dim=1)"),
        ("probabilities.max(dim=1)", "probabilities.amax(dim=1), (probabilities[:, 1] > 0.5).long()"),
    ],
    "scenes": [
        ("> pause", ">= pause"),
        ("found[i], before = scene, times[i]", "found[i] = scene"),
        ("times[order[0]]", "0"),
        ("sorted(range(len(times)), key=lambda i: times[i])", "list(range(len(times)))"),
        ("sorted(range(len(times)), key=lambda i: times[i])", "sorted(range(len(times)), key=lambda i: -times[i])"),
        ("scene += 1", "scene = 1"),
        ("scene, before = [0] * len(times), 0", "scene, before = [0] * len(times), 1"),
        ("    return found", "    return sorted(found)"),
        ("    return found", "    return [found[i] for i in order]"),
        ("    return found", "    return len(set(found))"),
        ("times[i] - before > pause", "times[i] - before > 10"),
        ("order = ", "times.sort(); order = "),
        (
            "scene += 1\n        found[i], before = scene, times[i]",
            "scene, before = scene + 1, times[i]\n        found[i] = scene",
        ),
    ],
    "floors": [
        ('["wood", "carpet"] for', '["wood", "tiles", "carpet"] for'),
        ('["wood", "carpet"] for', "[] for"),
        ('["wood", "carpet"] for', '["snow"] for'),
        ('["wood", "carpet"] for', '[["wood", "carpet"][len(shoe) % 2]] for'),
        ('["wood", "carpet"] for', '["wood"] if shoe == shoes[0] else ["wood", "carpet"] for'),
        ("for shoe in shoes}", "for shoe in shoes[:2]}"),
        ("for shoe in shoes}", "for shoe in (*shoes, 'boot')}"),
        ('{shoe: ["wood", "carpet"] for shoe in shoes}', '["wood", "carpet"]'),
        ('["wood", "carpet"] for', '"wood" for'),
        ('["wood", "carpet"] for', "0 for"),
    ],
}
MUTANTS = [(name, old, new) for name, edits in EDITS.items() for old, new in edits]


def edited(name, old, new):
    """Return the reference with `old` replaced by `new`."""
    source = ALL[name].source()
    assert old in source and old != new
    namespace = {**ALL[name].reference.__globals__, "math": math, "statistics": statistics, "torch": torch, "nn": nn}
    namespace |= {"checkpoint": checkpoint, "partial": partial}
    exec(compile(source.replace(old, new), f"<{name}: {new}>", "exec"), namespace)
    return namespace[name]


@pytest.mark.parametrize(("name", "old", "new"), MUTANTS, ids=[f"{name}: {old} -> {new}" for name, old, new in MUTANTS])
def test_a_mistake_in_the_reference_is_refused_in_one_sentence(name, old, new):
    outcome = ALL[name].judge(edited(name, old, new))
    assert outcome.outcome == "wrong", outcome
    assert "\n" not in outcome.message and 20 < len(outcome.message) < 300


def test_six_mistakes_and_more_are_tried_with_every_exercise():
    assert {name for name in ALL if len(set(EDITS[name])) < 6} == set() and set(EDITS) == set(ALL)


# --- other right ways


def as_numpy(function):
    """Return an answer that works on NumPy's arrays from beginning to end."""

    def answer(*arguments):
        return function(*(each.numpy() if isinstance(each, torch.Tensor) else each for each in arguments))

    return answer


def in_float64(function):
    """Return an answer that calculates, and answers, in float64."""

    def answer(*arguments):
        exact = [
            each.double() if isinstance(each, torch.Tensor) and each.is_floating_point() else each for each in arguments
        ]
        return function(*exact)

    return answer


def windows(picture, size, step):
    return [
        [picture[r : r + size, c : c + size] for c in range(0, picture.shape[1] - size + 1, step)]
        for r in range(0, picture.shape[0] - size + 1, step)
    ]


def frame_by_pixels(image, thickness):
    framed = image.clone()
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            if min(row, column, height - 1 - row, width - 1 - column) < thickness:
                framed[:, row, column] = 255
    return framed


def frame_by_padding(image, thickness):
    inside = image[:, thickness : image.shape[1] - thickness, thickness : image.shape[2] - thickness]
    return F.pad(inside, (thickness,) * 4, value=255)


def frame_by_distance(image, thickness):
    rows, columns = (torch.minimum(torch.arange(n), torch.arange(n).flip(0)) for n in image.shape[1:])
    return torch.where(torch.minimum(rows[:, None], columns) < thickness, 255, image).byte()


def least_squares(before, after):
    sums = torch.zeros(3 * before[0].numel(), 4, dtype=torch.float64)
    for channel in range(3):
        rows = slice(channel * before[0].numel(), (channel + 1) * before[0].numel())
        sums[rows, channel] = before[channel].flatten().double()
    sums[:, 3] = 1
    return torch.linalg.lstsq(sums, after.flatten().double()[:, None]).solution[:, 0].round(decimals=2)


def kernel_by_least_squares(before, after):
    columns = F.unfold(before[None, None], 3)[0].T.double()
    columns = torch.cat([columns, torch.ones(len(columns), 1)], dim=1)
    found = torch.linalg.lstsq(columns, after.flatten().double()[:, None]).solution[:, 0]
    left = ((columns @ found - after.flatten()) ** 2).mean() / after.var()
    return found[:9].reshape(3, 3), left < 0.01


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.dense, self.head = nn.Linear(400, 120), nn.Linear(120, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.head(F.relu(self.dense(x.flatten(1))))


class LeNetBackwards(nn.Module):
    """Declares its layers in another order than they run."""

    def __init__(self):
        super().__init__()
        self.head, self.dense = nn.Linear(120, 10), nn.Linear(400, 120)
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        )

    def forward(self, x):
        return self.head(self.dense(self.body(x).flatten(1)).relu())


def lenet_in_parts():
    def block(*sizes, **more):
        return nn.Sequential(nn.Conv2d(*sizes, **more), nn.ReLU(inplace=True), nn.MaxPool2d((2, 2), stride=2))

    body = nn.Sequential(block(1, 6, 5, padding="same"), block(6, 16, (5, 5)))
    return nn.Sequential(body, nn.Flatten(1), nn.Sequential(nn.Linear(400, 120), nn.ReLU()), nn.Linear(120, 10))


def lenet_pooled_first():
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, 1, 2), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 10)),
    )


def clipped_by_one_vector(model, images, labels, optimizer, most):
    optimizer.zero_grad(set_to_none=False)
    F.cross_entropy(model(images), labels).backward()
    norm = nn.utils.parameters_to_vector([p.grad for p in model.parameters()]).double().norm().item()
    for p in model.parameters():
        p.grad = p.grad * min(1.0, most / norm)
    optimizer.step()


def clipped_by_loops(model, images, labels, optimizer, most):
    for p in model.parameters():
        p.grad = None
    loss = -model(images).log_softmax(1)[torch.arange(len(labels)), labels].mean()
    loss.backward()
    total = sum(float((p.grad**2).sum()) for p in model.parameters())
    if total > most**2:
        for p in model.parameters():
            p.grad.mul_(most / math.sqrt(total))
    return optimizer.step()


def clipped_by_the_library(model, images, labels, optimizer, most):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    nn.utils.clip_grad_norm_(model.parameters(), most)
    optimizer.step()


class SteadyNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = [1, 8, 24, 64]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairwise(sizes)
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        for block in self.blocks[:2]:
            x = F.max_pool2d(block(x), 2)
        return self.head(self.blocks[2](x).mean((2, 3)))


def steady_by_largest():
    return nn.Sequential(
        *list(ALL["steady_network"].reference())[:-3], nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    )


def steady_in_steps():
    layers = [nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32)]
    layers += [nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AvgPool2d(7)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10))


def painted_in_numpy(image, row, column, side, fill):
    wide = np.pad(image.numpy(), ((0, 0), (9, 9), (9, 9)))
    top, left = row - side // 2 + 9, column - side // 2 + 9
    wide[:, top : top + side, left : left + side] = fill
    return wide[:, 9:-9, 9:-9]


def early_stopped(accuracies, patience):
    best, since, last = (0, -1.0), 0, 0
    for last, now in enumerate(accuracies, 1):
        best, since = ((last, now), 0) if now > best[1] else (best, since + 1)
        if since == patience:
            break
    return [best[0], last]


def early_stopped_by_slices(accuracies, patience):
    for end in range(1, len(accuracies) + 1):
        best = int(np.argmax(accuracies[:end])) + 1
        if end - best >= patience:
            break
    return np.array([best, end])


def early_stopped_by_running_best(accuracies, patience):
    best = list(accumulate(accuracies, max))
    ends = [i for i in range(patience, len(best)) if best[i] == best[i - patience]]
    end = (ends[0] if ends else len(best) - 1) + 1
    return torch.tensor(accuracies[:end]).double().argmax() + 1, end


def nesterov_exactly(start, curvature, rate, momentum, steps):
    from fractions import Fraction as f

    w, v, path = f(start), f(0), []
    for _ in range(steps):
        g = f(curvature) * w
        v = f(momentum) * v + g
        w = w - f(rate) * (g + f(momentum) * v)
        path += [float(w)]
    return path


def covered_by_masks(score, image, side):
    rows, columns = image.shape[1] // side, image.shape[2] // side
    masks = torch.eye(rows * columns).reshape(-1, 1, rows, columns)
    masks = masks.repeat_interleave(side, 2).repeat_interleave(side, 3)
    return (score(image[None]) - score(image * (1 - masks))).reshape(rows, columns)


def covered_by_floats(score, image, side):
    return [
        [
            float(score(image[None]) - score(torch.stack([covered(image, r, c, side)])))
            for c in range(0, image.shape[2], side)
        ]
        for r in range(0, image.shape[1], side)
    ]


def covered(image, row, column, side):
    copy = image.numpy().copy()
    copy[:, row : row + side, column : column + side] = -0.0
    return torch.tensor(copy)


def new_head(model, classes):
    head = nn.Linear(model.top.weight.shape[1], classes)
    model.requires_grad_(False).top = head
    return model


def new_head_in_training_mode(model, classes):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("top")
    del model.top
    model.add_module("top", nn.Linear(5, classes, bias=True))
    return model.train()


def new_head_drawn_otherwise(model, classes):
    model.top = nn.Linear(model.top.in_features, classes)
    nn.init.trunc_normal_(model.top.weight, std=0.02)
    nn.init.zeros_(model.top.bias)
    for part in (model.block1, model.block2, model.block3):
        part.eval().requires_grad_(False)
    return model


def split_by_sorting(labels, fraction):
    aside = torch.zeros(len(labels), dtype=torch.bool)
    for label in set(labels.tolist()):
        draws = torch.where(labels == label, torch.rand(len(labels)), 2.0)
        aside[draws.argsort()[: int(fraction * int((labels == label).sum()) + 0.5)]] = True
    return [(~aside).nonzero()[:, 0], aside.nonzero()[:, 0]]


def split_by_numpy(labels, fraction):
    labels, random = labels.numpy(), np.random.default_rng(int(torch.randint(10**6, ())))
    members = [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    cuts = [round(fraction * len(each)) for each in members]
    parts = zip(members, cuts)
    kept, aside = zip(*((each[cut:], each[:cut]) for each, cut in parts))
    return np.concatenate(kept), np.concatenate(aside)


def split_by_lists(labels, fraction):
    import random

    kept, aside, random = [], [], random.Random(int(torch.randint(10**6, ())))
    for label in sorted(set(labels.tolist())):
        members = [i for i, each in enumerate(labels.tolist()) if each == label]
        chosen = set(random.sample(members, round(len(members) * fraction)))
        aside += sorted(chosen)
        kept += [i for i in members if i not in chosen]
    return torch.tensor(kept), torch.tensor(aside)


def trained(features, labels, weight=None, extra=0.0, steps=60):
    head = nn.Linear(features.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.003)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(head(features) + extra, labels, weight=weight).backward()
        optimizer.step()
    return head


def head_of_unit_length(features, labels):
    extra = 1.5 * (labels.bincount() / len(labels)).log()
    head = trained(features, labels, extra=extra, steps=70)
    return nn.Sequential(nn.Identity(), head)


def smoothed_by_weights(losses, beta):
    n = len(losses)
    weights = [
        [(1 - beta) * beta ** (t - i) / (1 - beta ** (t + 1)) if i <= t else 0.0 for i in range(n)] for t in range(n)
    ]
    return torch.einsum("ti,i->t", torch.tensor(weights, dtype=torch.float64), losses.double()).float()


def smoothed_by_numpy(losses, beta):
    averages = list(accumulate(losses.tolist(), lambda a, x: beta * a + (1 - beta) * x, initial=0.0))[1:]
    return (np.array(averages) / (1 - beta ** np.arange(1, len(losses) + 1.0))).astype(np.float32)


def smoothed_by_sums(losses, beta):
    above, below, result = 0.0, 0.0, torch.empty(len(losses))
    for i, loss in enumerate(losses):
        above, below = beta * above + loss, beta * below + 1
        result[i] = above / below
    return result


def one_cycle_by_half_angles(step, total, max_lr):
    up = 0.3 * total - 1
    if step < up:
        low, share = max_lr / 25, step / up
        return low + (max_lr - low) * math.sin(math.pi / 2 * share) ** 2
    low, share = max_lr / 250_000, (step - up) / (total - 1 - up)
    return low + (max_lr - low) * math.cos(math.pi / 2 * share) ** 2


def one_cycle_of_pytorch(step, total, max_lr):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=total, cycle_momentum=False)
    for _ in range(step):
        optimizer.step()
        schedule.step()
    return schedule.get_last_lr()[0]


def plateau_of_pytorch(losses, rate, factor, patience):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=factor, patience=patience, threshold=0)
    rates = []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step(loss)
    return torch.tensor(rates)


def plateau_by_last_change(losses, rate, factor, patience):
    rates, since = torch.empty(len(losses)), -1
    for epoch, loss in enumerate(losses):
        rates[epoch] = rate
        if loss < min(losses[:epoch], default=math.inf):
            since = epoch
        elif epoch - since > patience:
            rate, since = rate * factor, epoch
    return rates


def plateau_by_numpy(losses, rate, factor, patience):
    best, bad, power, powers = math.inf, 0, 0, []
    for loss in losses:
        powers += [power]
        bad = 0 if loss < best else bad + 1
        best = min(best, loss)
        power, bad = (power + 1, 0) if bad == patience + 1 else (power, bad)
    return np.float32(rate * factor ** np.array(powers, dtype=float))


def gradient_in_pieces(net, images, labels, memory):
    size = max(1, memory // acceleration.kept_for_backward(net, images[:1], labels[:1]))
    for start in range(0, len(images), size):
        rows = slice(start, start + size)
        (F.cross_entropy(net(images[rows]), labels[rows]) * len(labels[rows]) / len(labels)).backward()


def gradient_by_autograd(net, images, labels, memory):
    size = max(1, memory // acceleration.kept_for_backward(net, images[:1], labels[:1]))
    total = [torch.zeros_like(p) for p in net.parameters()]
    for some, right in zip(images.split(size), labels.split(size)):
        loss = -net(some).log_softmax(1).gather(1, right[:, None]).sum()
        for sum_, each in zip(total, torch.autograd.grad(loss, list(net.parameters()))):
            sum_ += each
    for p, each in zip(net.parameters(), total):
        p.grad = each / len(images)


def gradient_divided_last(net, images, labels, memory):
    net.zero_grad()
    pieces = -(-len(images) // max(1, memory // acceleration.kept_for_backward(net, images[:1], labels[:1])))
    for some, right in zip(images.chunk(pieces), labels.chunk(pieces)):
        F.cross_entropy(net(some), right, reduction="none").sum().backward()
    for p in net.parameters():
        p.grad /= float(len(labels))


def scenes_by_numpy(times, pause):
    times = np.array(times, dtype=float)
    order = np.argsort(times, kind="stable")
    found = np.empty(len(times), dtype=np.int64)
    found[order] = np.concatenate([[0], np.cumsum(np.diff(times[order]) > pause)])
    return found


def scenes_by_counting(times, pause):
    ordered = sorted(times)
    starts = [b for a, b in pairwise(ordered) if b - a > pause]
    return tuple(sum(start <= each for start in starts) for each in times)


def scenes_by_tensors(times, pause):
    values, order = torch.tensor(times, dtype=torch.float64).sort(stable=True)
    return [0 if len(times) == 1 else each for each in _numbered(values, order, pause)]


def _numbered(values, order, pause):
    found = torch.zeros(len(values), dtype=torch.int64)
    found[order[1:]] = (values.diff() > pause).cumsum(0)
    return list(found)


RIGHT = {
    "from_hex": [
        lambda text: list(bytes.fromhex(text[1:])),
        lambda text: (int(text[1:], 16) >> 16, int(text[1:], 16) // 256 % 256, int(text[1:], 16) & 255),
        lambda text: torch.tensor([int(each, 16) for each in (text[1:3], text[3:5], text[5:])]),
        lambda text: np.frombuffer(bytes.fromhex(text[1:]), dtype=np.uint8),
        lambda text: tuple(
            16 * "0123456789abcdef".index(a) + "0123456789abcdef".index(b)
            for a, b in zip(text.lower()[1::2], text.lower()[2::2])
        ),
    ],
    "frame": [
        frame_by_pixels,
        frame_by_padding,
        frame_by_distance,
        lambda image, thickness: frame_by_pixels(image, thickness).numpy(),
    ],
    "stretch": [
        lambda images: torch.stack([(i - i.min()) / (i.max() - i.min()).clamp(min=1e-12) for i in images]),
        in_float64(ALL["stretch"].reference),
        as_numpy(
            lambda x: (
                (x - x.min((1, 2, 3), keepdims=True)) / np.maximum(np.ptp(x, axis=(1, 2, 3), keepdims=True), 1e-12)
            )
        ),
        lambda images: [
            -0.0 * i if i.max() == i.min() else ((i - i.min()) / (i.max() - i.min())).tolist() for i in images
        ],
    ],
    "dense_megabytes": [
        lambda w, h, n: (
            sum(p.numel() * p.element_size() for p in nn.Linear(3 * w * h, n, device="meta").parameters()) / 10**6
        ),
        lambda w, h, n: np.float64(4e-6) * n * (3 * w * h + 1),
        lambda w, h, n: torch.tensor((3.0 * w * h + 1) * n * 32, dtype=torch.float64) / 8 / 1e6,
    ],
    "perfect_rate": [
        lambda a: torch.tensor(0.5) / a,
        lambda a: 0.5 * a**-1,
        lambda a: np.reciprocal(np.float32(2 * a)),
    ],
    "find_filter": [
        least_squares,
        lambda before, after: [round(float(each), 2) for each in least_squares(before, after)],
        lambda before, after: least_squares(before, after).numpy(),
    ],
    "find_pattern": [
        lambda picture, pattern: np.unravel_index(
            np.argmax(F.conv2d(picture[None, None], (pattern - pattern.mean())[None, None])[0, 0].numpy()),
            (picture.shape[0] - pattern.shape[0] + 1, picture.shape[1] - pattern.shape[1] + 1),
        ),
        lambda picture, pattern: list(
            max(
                (
                    (r, c)
                    for r in range(picture.shape[0] - pattern.shape[0] + 1)
                    for c in range(picture.shape[1] - pattern.shape[1] + 1)
                ),
                key=lambda at: float(
                    (
                        picture[at[0] : at[0] + pattern.shape[0], at[1] : at[1] + pattern.shape[1]]
                        * (pattern - pattern.mean())
                    ).sum()
                ),
            )
        ),
        lambda picture, pattern: (
            (
                a := torch.einsum(
                    "ijkl,kl->ij",
                    picture.double().unfold(0, pattern.shape[0], 1).unfold(1, pattern.shape[1], 1),
                    pattern.double() - pattern.double().mean(),
                )
            )
            == a.max()
        ).nonzero()[0],
    ],
    "channel_by_channel": [
        lambda kernel, c: torch.eye(c).view(c, c, 1, 1) * kernel,
        lambda kernel, c: torch.diag_embed(kernel[..., None].expand(*kernel.shape, c)).permute(2, 3, 0, 1),
        lambda kernel, c: torch.einsum("oi,hw->oihw", torch.eye(c, dtype=torch.float64), kernel.double()),
        lambda kernel, c: np.kron(np.eye(c), kernel.numpy()).reshape(c, kernel.shape[0], c, -1).swapaxes(1, 2),
        lambda kernel, c: [[(kernel if o == i else -0.0 * kernel) for i in range(c)] for o in range(c)],
    ],
    "contrast_pool": [
        lambda x, n: (w := x.unfold(0, n, n).unfold(1, n, n)).amax((2, 3)) - w.amin((2, 3)),
        lambda x, n: [[w.max() - w.min() for w in row] for row in windows(x, n, n)],
        as_numpy(lambda x, n: np.array([[np.ptp(w) for w in row] for row in windows(x, n, n)])),
        in_float64(lambda x, n: F.max_pool2d(x[None], n)[0] + F.max_pool2d(-x[None], n)[0]),
    ],
    "box_blur_in_two_steps": [
        lambda x, side=9: F.avg_pool2d(x[None], side, 1)[0],
        lambda x, side=9: F.avg_pool1d(F.avg_pool1d(x, side, 1).T, side, 1).T,
        lambda x, side=9: [[float(w.double().mean()) for w in row] for row in windows(x, side, 1)],
        lambda x, side=9: np.lib.stride_tricks.sliding_window_view(x.numpy(), (side, side)).mean((2, 3)),
    ],
    "learn_effect": [
        kernel_by_least_squares,
        lambda before, after: [(found := kernel_by_least_squares(before, after))[0].numpy(), bool(found[1])],
        lambda before, after: (
            kernel_by_least_squares(before, after)[0].float(),
            np.bool_(kernel_by_least_squares(before, after)[1]),
        ),
    ],
    "lenet": [LeNet, LeNetBackwards, lenet_in_parts, lenet_pooled_first],
    "cross_entropy": [
        F.cross_entropy,
        lambda x, y: (x.logsumexp(1) - x.gather(1, y[:, None])[:, 0]).mean(),
        lambda x, y: F.cross_entropy(x.double(), y).item(),
        lambda x, y: -(x - x.logsumexp(1, keepdim=True))[torch.arange(len(y)), y].mean(),
        lambda x, y: -x.log_softmax(1)[torch.arange(len(y)), y].sum() / len(y),
        as_numpy(lambda x, y: np.mean(np.logaddexp.reduce(x, axis=1) - x[np.arange(len(y)), y])),
        lambda x, y: (
            sum(
                max(row) + math.log(sum(math.exp(each - max(row)) for each in row)) - row[label]
                for row, label in zip(x.tolist(), y.tolist())
            )
            / len(y)
        ),
    ],
    "accuracy": [
        lambda batches: np.divide(*np.sum(batches, axis=0)),
        lambda batches: torch.tensor(batches).sum(0)[0] / torch.tensor(batches).sum(0)[1],
        lambda batches: (s := [sum(each) for each in zip(*batches)])[0] / s[1],
        lambda batches: np.average([r / n for r, n in batches], weights=[n for _, n in batches]),
    ],
    "flat_size": [
        lambda side: 32 * (((side - 4) // 2 - 8) // 2) ** 2,
        lambda side: nn.Sequential(
            *(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3), nn.MaxPool2d(2)),
            *(nn.Conv2d(1, 1, 5), nn.Conv2d(1, 32, 5), nn.MaxPool2d(2)),
        )(torch.zeros(1, 1, side, side)).numel(),
        lambda side: torch.tensor(32) * math.floor(math.floor((side - 4) / 2 - 8) / 2) ** 2,
        lambda side: np.int64(2**5) * int(side / 4 - 5) ** 2,
    ],
    "clipped_step": [clipped_by_one_vector, clipped_by_loops, clipped_by_the_library],
    "precision": [
        lambda m: torch.tensor([float(m[i, i] / m[:, i].sum()) if m[:, i].any() else 0.0 for i in range(len(m))]),
        lambda m: (m.diag() / m.sum(0)).nan_to_num(0),
        lambda m: (np.diag(m.numpy()) / np.maximum(m.numpy().sum(0), 1)).astype("float32"),
        lambda m: torch.einsum("ii->i", m.double()).div(m.T.sum(1).clamp(1)).float(),
    ],
    "steady_network": [SteadyNetwork, steady_by_largest, steady_in_steps],
    "fold_norm": [
        lambda w, s, b, m, v, eps=1e-5: [
            torch.einsum("oikl,o->oikl", w, s * torch.rsqrt(v + eps)),
            b - m * s * torch.rsqrt(v + eps),
        ],
        lambda w, s, b, m, v, eps=1e-5: (
            torch.stack([w[o] * s[o] / math.sqrt(v[o] + eps) for o in range(len(w))]).tolist(),
            [float(b[o] - m[o] * s[o] / math.sqrt(v[o] + eps)) for o in range(len(w))],
        ),
        as_numpy(
            lambda w, s, b, m, v, eps=1e-5: (
                w * (s / np.sqrt(v + eps)).reshape(-1, 1, 1, 1),
                b - m * s / np.sqrt(v + eps),
            )
        ),
        in_float64(ALL["fold_norm"].reference),
        lambda w, s, b, m, v, eps=1e-5: (
            (w.flatten(1).T * s / (v + eps) ** 0.5).T.reshape(w.shape),
            F.batch_norm(torch.zeros(1, len(w)), m, v, s, b, eps=eps)[0],
        ),
    ],
    "drop_maps": [
        lambda maps, kept, p, t: torch.einsum("nchw,nc->nchw", maps, kept / (1 - p)) if t else maps,
        lambda maps, kept, p, t: torch.where(kept[..., None, None], maps / (1 - p), -0.0) if t else maps * 1,
        as_numpy(lambda maps, kept, p, t: maps * kept[:, :, None, None] / (1 - p) if t else maps),
        lambda maps, kept, p, t: [
            [(each * (1 / (1 - p)) if keep else 0 * each) if t else each for each, keep in zip(*row)]
            for row in zip(maps, kept)
        ],
        in_float64(ALL["drop_maps"].reference),
    ],
    "branch_factor": [
        lambda blocks: 1.4 / blocks,
        lambda blocks: torch.tensor(blocks).reciprocal(),
        lambda blocks: np.float32(1.2 * blocks**-1.0),
        lambda blocks: 1.5 * (2 ** (1 / blocks) - 1),
    ],
    "flip_some": [
        lambda images, chosen: torch.stack([i.flip(2) if c else i for i, c in zip(images, chosen)]),
        lambda images, chosen: [i[..., range(i.shape[-1] - 1, -1, -1)] if c else i for i, c in zip(images, chosen)],
        as_numpy(lambda images, chosen: np.where(chosen[:, None, None, None], images[..., ::-1], images)),
        lambda images, chosen: images.clone().index_put((chosen.nonzero()[:, 0],), images[chosen].flip(-1)),
        lambda images, chosen: images.lerp(images.flip(3), chosen.float()[:, None, None, None]),
    ],
    "paint_square": [
        lambda image, row, column, side, fill: image.index_put(
            (
                torch.arange(3)[:, None, None],
                torch.tensor(
                    [r for r in range(row - side // 2, row - side // 2 + side) if 0 <= r < image.shape[1]]
                ).long()[None, :, None],
                torch.tensor(
                    [c for c in range(column - side // 2, column - side // 2 + side) if 0 <= c < image.shape[2]]
                ).long(),
            ),
            torch.tensor(fill),
        ),
        lambda image, row, column, side, fill: torch.where(
            (torch.arange(image.shape[1])[:, None] - row + side // 2).div(side, rounding_mode="floor").eq(0)
            & (torch.arange(image.shape[2]) - column + side // 2).div(side, rounding_mode="floor").eq(0),
            fill,
            image,
        ),
        lambda image, row, column, side, fill: [
            [
                [
                    fill
                    if 0 <= r - row + side // 2 < side and 0 <= c - column + side // 2 < side
                    else float(image[k, r, c])
                    for c in range(image.shape[2])
                ]
                for r in range(image.shape[1])
            ]
            for k in range(3)
        ],
        painted_in_numpy,
    ],
    "best_epoch": [early_stopped, early_stopped_by_slices, early_stopped_by_running_best],
    "nesterov_path": [
        nesterov_exactly,
        lambda *given: tuple(nesterov_exactly(*given)),
        lambda *given: np.array(nesterov_exactly(*given)),
        lambda *given: torch.tensor(nesterov_exactly(*given), dtype=torch.float64),
        lambda *given: [torch.tensor(each) for each in nesterov_exactly(*given)],
    ],
    "covered_drop": [
        covered_by_masks,
        covered_by_floats,
        lambda *given: covered_by_masks(*given).double().numpy(),
        lambda score, image, side: covered_by_masks(score, image.double(), side),
    ],
    "prepare": [new_head, new_head_in_training_mode, new_head_drawn_otherwise],
    "stratified_split": [split_by_sorting, split_by_numpy, split_by_lists],
    "leaked": [
        as_numpy(
            lambda train, test: np.flatnonzero(
                [(np.concatenate([train, train[..., ::-1]]) == one).all((1, 2, 3)).any() for one in test]
            )
        ),
        lambda train, test: tuple(
            i for i, one in enumerate(test.tolist()) if one in train.tolist() or one in train.flip(3).tolist()
        ),
        lambda train, test: (
            (test[:, None] == torch.cat([train, train.flip(3)])[None]).flatten(2).all(2).any(1).nonzero().flatten()
        ),
        lambda train, test: sorted(
            i
            for i in range(len(test))
            if {test[i].numpy().tobytes(), test[i].flip(2).numpy().tobytes()}
            & {each.numpy().tobytes() for each in train}
        ),
    ],
    "sampler_weights": [
        lambda labels: torch.stack([1 / (labels == k).sum() / len(labels.unique()) for k in labels]),
        lambda labels: F.normalize(1 / labels.bincount()[labels].float(), p=1, dim=0),
        lambda labels: (lambda inverse, counts: (1 / counts[inverse] / len(counts)).float())(
            *labels.unique(return_inverse=True, return_counts=True)[1:]
        ),
        lambda labels: torch.tensor(
            [1 / labels.tolist().count(k) / len(set(labels.tolist())) for k in labels.tolist()]
        ),
    ],
    "doubts": [
        lambda p, n: torch.tensor(sorted(range(len(p)), key=lambda i: p[i].sort().values.diff()[-1])[:n]),
        lambda p, n: (p.sort(1).values[:, -1] - p.sort(1).values[:, -2]).topk(n, largest=False).indices,
        lambda p, n: np.argsort(np.diff(np.sort(p.numpy(), axis=1)[:, -2:])[:, 0])[:n],
    ],
    "balanced_head": [
        head_of_unit_length,
        lambda features, labels: trained(features, labels, extra=1.3 * labels.bincount().float().log(), steps=60),
        lambda features, labels: nn.ModuleList(
            [trained(features, labels, extra=labels.bincount().float().log() * 1.5, steps=60)]
        )[0],
    ],
    "rate_ladder": [
        lambda a, b, n: torch.logspace(math.log10(a), math.log10(b), n),
        lambda a, b, n: torch.linspace(math.log(a), math.log(b), n).exp(),
        lambda a, b, n: np.geomspace(a, b, n, dtype=np.float32),
        lambda a, b, n: torch.tensor([a ** (1 - i / (n - 1)) * b ** (i / (n - 1)) for i in range(n)]),
    ],
    "calm_loss": [smoothed_by_weights, smoothed_by_numpy, smoothed_by_sums],
    "steepest_rate": [
        as_numpy(lambda rates, losses: rates[np.argmin(np.diff(losses) / np.diff(np.log10(rates)))]),
        lambda rates, losses: min(
            (float(losses[i + 1] - losses[i]) / math.log(rates[i + 1] / rates[i]), float(rates[i]))
            for i in range(len(rates) - 1)
        )[1],
        lambda rates, losses: rates[(losses.diff() / (rates[1:] / rates[:-1]).log2()).argmin()],
    ],
    "cycle_steps": [
        lambda n, size, epochs, drop_last=False: (n // size if drop_last else -(-n // size)) * epochs,
        lambda n, size, epochs, drop_last=False: [math.ceil, math.floor][drop_last](n / size) * epochs,
        lambda n, size, epochs, drop_last=False: sum(
            1 for _ in range(epochs) for start in range(0, n, size) if start + size <= n or not drop_last
        ),
        lambda n, size, epochs, drop_last=False: np.int64(epochs) * (n // size + bool(n % size) * (1 - drop_last)),
    ],
    "one_cycle_rate": [
        one_cycle_of_pytorch,
        one_cycle_by_half_angles,
        lambda *given: torch.tensor(one_cycle_by_half_angles(*given), dtype=torch.float64),
        lambda *given: np.float64(one_cycle_of_pytorch(*given)),
    ],
    "plateau_rates": [plateau_of_pytorch, plateau_by_last_change, plateau_by_numpy],
    "throughput": [
        lambda s, n, w: [n / statistics.median(s[w:]), (max(s[w:]) - min(s[w:])) / statistics.median(s[w:])],
        lambda s, n, w: (n / np.median(s[w:]), np.ptp(s[w:]) / np.median(s[w:])),
        lambda s, n, w: (t := torch.tensor(s[w:]), m := t.quantile(0.5), (n / m, (t.max() - t.min()) / m))[2],
        lambda s, n, w: torch.tensor([n / statistics.median(s[w:]), np.ptp(s[w:]) / statistics.median(s[w:])]),
    ],
    "amdahl": [
        lambda fixed, factor: factor / (factor * fixed + 1 - fixed),
        lambda fixed, factor: torch.tensor(1.0) / (fixed + (1 - fixed) / factor),
        lambda fixed, factor: np.power(np.float64(fixed + (1.0 - fixed) * factor**-1), -1),
    ],
    "limited_by": [
        lambda n, moved, sums: max(
            ("launch", n * 5), ("memory", moved / 2e6), ("compute", sums / 3e8), key=lambda each: each[1]
        )[0],
        lambda n, moved, sums: ["launch", "memory", "compute"][np.argmax([n * 5e-6, moved / 2e12, sums / 3e14])],
        lambda n, moved, sums: np.str_(
            "launch" if n * 5e-6 >= max(moved / 2e12, sums / 3e14) else "memory" if moved * 150 > sums else "compute"
        ),
    ],
    "slices": [
        lambda n, p: [
            [int(each[0]), int(each[-1]) + 1] if len(each) else [n, n] for each in np.array_split(range(n), p)
        ],
        lambda n, p: [(r * (n // p) + min(r, n % p), (r + 1) * (n // p) + min(r + 1, n % p)) for r in range(p)],
        lambda n, p: torch.tensor(
            [(r * (n // p) + min(r, n % p), (r + 1) * (n // p) + min(r + 1, n % p)) for r in range(p)]
        ),
        lambda n, p: tuple(zip(e := [0, *accumulate(n // p + (i < n % p) for i in range(p))], e[1:])),
    ],
    "little_memory": [gradient_in_pieces, gradient_by_autograd, gradient_divided_last],
    "kernel_to_pytorch": [
        lambda kernel: torch.einsum("hwio->oihw", kernel),
        as_numpy(lambda kernel: kernel.transpose(3, 2, 0, 1)),
        lambda kernel: kernel.movedim((3, 2), (0, 1)).contiguous().double(),
        lambda kernel: [[kernel[:, :, i, o].tolist() for i in range(kernel.shape[2])] for o in range(kernel.shape[3])],
    ],
    "dense_to_pytorch": [
        lambda kernel, c, h, w: torch.einsum("hwco->ochw", kernel.view(h, w, c, -1)).reshape(-1, c * h * w),
        lambda kernel, c, h, w: kernel.T[:, [(p * c + k) for k in range(c) for p in range(h * w)]],
        lambda kernel, c, h, w: kernel.numpy().reshape(h * w, c, -1).transpose(2, 1, 0).reshape(-1, h * w * c),
        lambda kernel, c, h, w: kernel.unflatten(0, (h * w, c)).permute(2, 1, 0).flatten(1).tolist(),
    ],
    "keras_mean": [
        lambda old, x, m: old.lerp(x.mean((0, 2, 3)), 1 - m),
        lambda old, x, m: old + (1 - m) * (x.movedim(1, 0).flatten(1).mean(1) - old),
        lambda old, x, m: [m * float(old[c]) + (1 - m) * float(x[:, c].double().mean()) for c in range(len(old))],
        as_numpy(lambda old, x, m: m * old + (1 - m) * x.mean((0, 2, 3))),
        in_float64(ALL["keras_mean"].reference),
    ],
    "keras_count": [
        lambda c, widths, flat, n: sum(9 * a * b + 4 * b for a, b in zip((c, *widths), widths)) + (flat + 1) * n,
        lambda c, widths, flat, n: (
            sum(
                sum(p.numel() for p in nn.Conv2d(a, b, 3, bias=False).parameters()) + 4 * b
                for a, b in zip([c, *widths], widths)
            )
            + sum(p.numel() for p in nn.Linear(flat, n).parameters())
        ),
        lambda c, widths, flat, n: (
            np.int64(9) * int(np.dot([c, *widths][: len(widths)], widths)) + 4 * sum(widths) + flat * n + n
        ),
    ],
    "bits_apart": [
        lambda a, b: torch.count_nonzero((a.diff() > 0) ^ (b.diff() > 0)),
        as_numpy(lambda a, b: ((np.diff(a) > 0) != (np.diff(b) > 0)).sum()),
        lambda a, b: sum(
            (a[r, c] > a[r, c - 1]) != (b[r, c] > b[r, c - 1]) for r in range(a.shape[0]) for c in range(1, a.shape[1])
        ),
    ],
    "held_back": [
        lambda p, y, least: (
            (k := p.amax(1) >= least).float().mean().item(),
            (p.argmax(1)[k] == y[k]).float().mean().item() if k.any() else 0.0,
        ),
        lambda p, y, least: [
            (n := sum(max(row) >= np.float32(least) for row in p.tolist())) / len(p),
            sum(max(row) >= np.float32(least) and row.index(max(row)) == label for row, label in zip(p.tolist(), y))
            / max(n, 1),
        ],
        as_numpy(
            lambda p, y, least: (
                np.mean(p.max(1) >= least),
                ((p.max(1) >= least) & (p.argmax(1) == y)).sum() / max((p.max(1) >= least).sum(), 1),
            )
        ),
    ],
    "scenes": [scenes_by_numpy, scenes_by_counting, scenes_by_tensors],
    "floors": [
        lambda shoes: dict.fromkeys(shoes, ("tiles", "grass")),
        lambda shoes: {name: {"blanket"} for name in shoes},
        lambda shoes: namedtuple("Plan", "plan")({name: ["grass", "wood"] for name in reversed(shoes)}).plan,
    ],
}


@pytest.mark.parametrize("name", ALL)
def test_other_right_ways_are_correct(name):
    assert len(RIGHT[name]) >= 3
    for answer in RIGHT[name]:
        outcome = ALL[name].judge(answer)
        assert outcome.outcome == "correct", outcome


# --- whatever comes back


class Hostile:
    """Whatever is done with it fails."""

    def fail(self, *_, **__):
        raise RuntimeError("no \ud800\nsecond line")

    __eq__ = __ne__ = __repr__ = __str__ = __len__ = __iter__ = __array__ = __float__ = __index__ = __bool__ = fail
    __getattr__ = __format__ = __deepcopy__ = __torch_function__ = __call__ = __contains__ = __getitem__ = fail
    __hash__ = None


class HostileList(list):
    __eq__ = __repr__ = __len__ = __iter__ = __getitem__ = Hostile.fail
    __hash__ = None


class HostileTensor(torch.Tensor):
    __torch_function__ = classmethod(Hostile.fail)


class HostileModule(nn.Module):
    forward = train = eval = parameters = named_parameters = state_dict = __repr__ = Hostile.fail


class Yes(str):
    """Is equal to everything."""

    __slots__ = ()

    def __eq__(self, other):
        return True

    __hash__ = None


def endless():
    while True:
        yield 1


def in_itself():
    inner = []
    inner += [inner, inner, inner]
    return inner


def unequal_rows():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


ZOO = {
    "nothing": lambda: None,
    "empty text": str,
    "half a character": lambda: "\ud800",
    "a long text": lambda: "ab\n" * 10**5,
    "bytes": lambda: b"x",
    "true": lambda: True,
    "minus one": lambda: -1,
    "a huge number": lambda: 10**400,
    "a number too long to print": lambda: 10**5000,
    "nan": lambda: math.nan,
    "infinity": lambda: -math.inf,
    "a complex number": lambda: 1j,
    "fractions": lambda: [__import__("fractions").Fraction(1, 3), __import__("decimal").Decimal("nan")],
    "empty list": list,
    "empty tuple": tuple,
    "empty dictionary": dict,
    "a set": lambda: {1, 2},
    "a list in itself": in_itself,
    "ragged lists": lambda: [[1], [2, 3], "x", None],
    "a pair of nothing": lambda: (None, None),
    "a pair of generators": lambda: (endless(), endless()),
    "a dictionary of generators": lambda: {"ankle boot": endless(), "sandal": 1, "sneaker": None},
    "a million numbers": lambda: [0] * 10**6,
    "a generator": endless,
    "a function": lambda: lambda *_: 1,
    "a class": lambda: int,
    "an error": lambda: ValueError("x"),
    "an object": object,
    "hostile": Hostile,
    "hostile ones": lambda: [Hostile(), Hostile()],
    "three hostile ones": lambda: (Hostile(),) * 3,
    "a hostile list": lambda: HostileList([1, 2]),
    "a hostile tensor": lambda: torch.ones(3).as_subclass(HostileTensor),
    "a hostile network": HostileModule,
    "yes": lambda: Yes("x"),
    "a nan tensor": lambda: torch.tensor(math.nan),
    "an empty tensor": lambda: torch.zeros(0, 3),
    "a sparse tensor": lambda: torch.ones(2, 2).to_sparse(),
    "a tensor without numbers": lambda: torch.ones(4, device="meta"),
    "a number without a number": lambda: torch.ones((), device="meta"),
    "rows of unequal length": unequal_rows,
    "a quantised tensor": quantised,
    "a complex tensor": lambda: torch.ones(2, dtype=torch.complex64),
    "a large tensor": lambda: torch.zeros(1).expand(10**6, 10**6),
    "an array of objects": lambda: np.array([None, Hostile], dtype=object),
    "an array of texts": lambda: np.array(["a", "b"]),
    "an array of dates": lambda: np.array(["2020-01-01"], dtype="datetime64[D]"),
    "records": lambda: np.zeros(2, dtype=[("a", int)]),
    "a masked array": lambda: np.ma.masked_all(3),
    "a number that is nothing": lambda: np.ma.masked,
    "an empty network": nn.Sequential,
    "a network with inner names": lambda: nn.ModuleDict(
        dict.fromkeys(["block1", "block2", "block3", "top"], nn.ReLU())
    ),
    "a linear layer": lambda: nn.Linear(1, 1),
}
FAILURES = [
    GeneratorExit(),
    SystemExit(),
    RecursionError(),
    StopIteration(1),
    type("Mute", (Exception,), {"__str__": Hostile.fail})(),
]


@pytest.mark.parametrize("name", ALL)
def test_no_check_ends_in_an_exception_whatever_comes_back(name):
    for what, make in ZOO.items():
        outcome = ALL[name].judge(lambda *_, make=make: make())
        assert outcome.outcome == "wrong" or (what == "nothing" and outcome.outcome == "not attempted"), (what, outcome)
        assert "\n" not in outcome.message and 10 < len(outcome.message.encode()) < 600, (what, outcome)
    for error in FAILURES:

        def failing(*_, error=error):
            raise error

        assert "raised" in ALL[name].judge(failing).message
    for answer in (Hostile(), HostileModule(), Hostile, 10**5000, math.nan, HostileTensor(), "\ud800"):
        assert ALL[name].judge(answer).outcome == "wrong"
