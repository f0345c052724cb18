"""Exercises: blank is not attempted, references pass, plausible mistakes are refused with their first difference."""

import hashlib
import html
import json
import math
import re
import sys
from itertools import pairwise
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from course_utils import acceleration, exercises, learning_rate, models
from course_utils.base import lessons, progress
from course_utils.base.notes import MARK
from course_utils.exercises.check_panel import AGAIN, VIEW
from course_utils.exercises.checking import EXERCISE, Exercise, call, is_untouched
from course_utils.exercises.differences import described, first_difference

SOURCES = lessons.sources(Path(__file__).resolve().parent.parent)
MODULES = [getattr(exercises, name) for name in exercises.__all__]
ALL = {each.name: each for module in MODULES for each in vars(module).values() if isinstance(each, Exercise)}
every_exercise = pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)


# --- plausible mistakes, lesson 1


def hex_in_decimal(text):
    return int(text[1:3]), int(text[3:5]), int(text[5:7])


def hex_with_capitals_only(text):
    digits = "0123456789ABCDEF"
    return tuple(16 * digits.index(text[i]) + digits.index(text[i + 1]) for i in (1, 3, 5))


def frame_in_place(image, thickness):
    for part in (image[:, :thickness], image[:, image.shape[1] - thickness :]):
        part.fill_(255)
    for part in (image[:, :, :thickness], image[:, :, image.shape[2] - thickness :]):
        part.fill_(255)
    return image


def frame_with_minus_zero(image, thickness):
    framed = image.clone()
    for part in (framed[:, :thickness], framed[:, -thickness:], framed[..., :thickness], framed[..., -thickness:]):
        part.fill_(255)
    return framed


def stretch_of_squares(images):
    side = images.shape[2]
    flat = images[..., :side].flatten(1)
    darkest, lightest = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    spread = torch.where(lightest == darkest, 1, lightest - darkest)
    return ((flat - darkest) / spread).reshape(len(images), -1, side, side)


def frame_around(image, thickness):
    return F.pad(image, (thickness,) * 4, value=255)


def frame_in_black(image, thickness):
    framed = torch.zeros_like(image)
    inside = slice(thickness, -thickness)
    framed[:, inside, inside] = image[:, inside, inside]
    return framed


def stretched_together(images):
    return (images - images.min()) / (images.max() - images.min())


def stretched_by_channel(images):
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    return (images - low) / (high - low)


def stretched_without_care(images):
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    return (images - low) / (high - low)


def stretched_in_place(images):
    images -= images.amin(dim=(1, 2, 3), keepdim=True)
    images /= images.amax(dim=(1, 2, 3), keepdim=True)
    return images


def filter_found(rate, steps, brightness=True):
    """Return an answer to find_filter that walks `steps` steps at this rate, and may forget the brightness."""

    def answer(before, after):
        numbers = torch.tensor([1.0, 1.0, 1.0, 0.0], requires_grad=True)
        optimizer = torch.optim.SGD([numbers], lr=rate)
        for _ in range(steps):
            loss = ((before * numbers[:3].view(3, 1, 1) + brightness * numbers[3] - after) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return numbers.detach().round(decimals=2)

    return answer


def filter_by_normalising(before, after):
    """Learn on pictures with mean 0 and deviation 1 in each channel, and bring the numbers back."""
    mean = before.mean(dim=(1, 2))
    std = before.std(dim=(1, 2), correction=0)
    normal = (before - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    gains, shifts = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([gains, shifts], lr=1.5)
    for _ in range(5):
        loss = ((normal * gains.view(3, 1, 1) + shifts.view(3, 1, 1) - after) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = (gains / std).detach()
    return torch.cat([found, (shifts.detach() - found * mean).mean()[None]]).round(decimals=2)


# --- lesson 2


def find_with_brightness(picture, pattern):
    answers = F.conv2d(picture[None, None], pattern[None, None])[0, 0]
    return divmod(int(answers.argmax()), answers.shape[1])


def find_column_first(picture, pattern):
    row, column = ALL["find_pattern"].reference(picture, pattern)
    return column, row


def spread_over_all_channels(kernel, channels):
    return kernel.expand(channels, channels, *kernel.shape).clone()


def contrast_from_zero(picture, size):
    largest = F.max_pool2d(picture[None].clamp(min=0), size)[0]
    return largest + F.max_pool2d(-picture[None], size)[0]


def one_less_number(before, after):
    kernel, enough = ALL["learn_effect"].reference(before, after)
    kernel[1, 1] = 0
    return kernel, enough


def thirty_plain_steps(before, after):
    kernel = torch.zeros(1, 1, 3, 3, requires_grad=True)
    for _ in range(30):
        loss = F.mse_loss(F.conv2d(before[None, None], kernel)[0, 0], after)
        (gradient,) = torch.autograd.grad(loss, kernel)
        with torch.no_grad():
            kernel -= 0.2 * gradient
    return kernel[0, 0], loss.item() < 0.01


# --- lesson 3


def entropy_that_overflows(logits, labels):
    probabilities = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    return -probabilities[torch.arange(len(labels)), labels].log().mean()


def step(clip, clear=True, scale=None):
    def clipped_step(model, images, labels, optimizer, most):
        loss = F.cross_entropy(model(images), labels)
        if clear:
            optimizer.zero_grad()
        loss.backward()
        clip(list(model.parameters()), most)
        optimizer.step()

    return clipped_step


def nothing(parameters, most):
    """Leave the gradients as they are."""


def each_alone(parameters, most):
    for parameter in parameters:
        nn.utils.clip_grad_norm_(parameter, most)


def each_number(parameters, most):
    nn.utils.clip_grad_value_(parameters, most)


def always(parameters, most):
    norm = nn.utils.clip_grad_norm_(parameters, most)
    for parameter in parameters:
        parameter.grad *= max(most / norm, 1)


def lenet_with(*, padding=2, first=(nn.ReLU,), hidden=(nn.ReLU,), end=(), pool=True):
    def lenet():
        side = 5 if padding == 2 else 4
        layers = [nn.Conv2d(1, 6, 5, padding=padding), *(layer() for layer in first)]
        layers += [nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pool else [nn.AdaptiveAvgPool2d(5)]
        layers += [nn.Flatten(), nn.Linear(16 * side * side, 120), *(layer() for layer in hidden), nn.Linear(120, 10)]
        return nn.Sequential(*layers, *(layer() for layer in end))

    return lenet


class LeNetOfFunctions(nn.Module):
    """Pools by a function, and lacks a ReLU."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.dense, self.head = nn.Linear(400, 120), nn.Linear(120, 10)

    def forward(self, x):
        x = F.max_pool2d(self.conv1(x).relu(), 2)
        return self.head(self.dense(F.max_pool2d(self.conv2(x), 2).flatten(1)).relu())


def forgotten_network():
    nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


class one_picture_at_a_time(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(784, 10)

    def forward(self, x):
        if self.training:
            raise RuntimeError("one picture at a time.")
        return self.dense(x.flatten(1))


def dense_network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def placed_network():
    return models.FashionNet(widths=(8, 16, 32))


# --- lesson 6


def smoothed_without_correction(losses, beta):
    average, result = 0.0, []
    for loss in losses.tolist():
        average = beta * average + (1 - beta) * loss
        result.append(average)
    return torch.tensor(result)


def smoothed_from_the_first(losses, beta):
    average, result = losses[0].item(), []
    for loss in losses.tolist():
        average = beta * average + (1 - beta) * loss
        result.append(average)
    return torch.tensor(result)


def smoothed_and_corrected_twice(losses, beta):
    average, result = 0.0, []
    for step_, loss in enumerate(losses.tolist(), start=1):
        average = (beta * average + (1 - beta) * loss) / (1 - beta**step_)
        result.append(average)
    return torch.tensor(result)


def rate_in_straight_lines(step_, total, max_lr):
    top = 0.3 * total - 1
    if step_ <= top:
        return max_lr / 25 + (max_lr - max_lr / 25) * step_ / top
    return max_lr + (max_lr / 25e4 - max_lr) * (step_ - top) / (total - 1 - top)


def rate_with_a_late_top(step_, total, max_lr):
    top = 0.3 * total
    low, last = max_lr / 25, max_lr / 25e4
    if step_ <= top:
        return max_lr + (low - max_lr) * (1 + math.cos(math.pi * step_ / top)) / 2
    return last + (max_lr - last) * (1 + math.cos(math.pi * (step_ - top) / (total - top))) / 2


def plateau_of_pytorch(losses, rate, factor, patience, late=0):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=factor, patience=patience - late)
    rates = []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step(loss)
    return torch.tensor(rates)


def plateau_that_looks_ahead(losses, rate, factor, patience):
    return plateau_of_pytorch([*losses, losses[-1]], rate, factor, patience)[1:]


# --- lesson 4


def rows(values):
    return values.view(1, -1, 1, 1)


def fold_without_the_mean(weight, scale, shift, mean, variance, eps=1e-5):
    folded, _ = ALL["fold_norm"].reference(weight, scale, shift, mean, variance, eps)
    return folded, shift


def fold_along_the_inputs(weight, scale, shift, mean, variance, eps=1e-5):
    factor = scale / (variance + eps).sqrt()
    return weight * factor, shift - mean * factor


def drop_divided_by_p(maps, kept, p, training):
    return maps * kept[:, :, None, None] / p if training else maps


def nesterov_without_looking(start, curvature, rate, momentum, steps):
    weight, velocity, path = start, 0.0, []
    for _ in range(steps):
        velocity = momentum * velocity + curvature * weight
        weight -= rate * velocity
        path.append(weight)
    return torch.tensor(path)


def nesterov_with_the_old_velocity(start, curvature, rate, momentum, steps):
    weight, velocity, path = start, 0.0, []
    for _ in range(steps):
        gradient = curvature * weight
        weight -= rate * (gradient + momentum * velocity)
        velocity = momentum * velocity + gradient
        path.append(weight)
    return torch.tensor(path)


def nesterov_of_pytorch(start, curvature, rate, momentum, steps):
    weight, path = torch.tensor(start, dtype=torch.float64, requires_grad=True), []
    optimizer = torch.optim.SGD([weight], lr=rate, momentum=momentum, nesterov=momentum > 0)
    for _ in range(steps):
        optimizer.zero_grad()
        (curvature * weight**2 / 2).backward()
        optimizer.step()
        path.append(weight.item())
    return torch.tensor(path)


def drop_of_what_is_left(score, image, side):
    squares = image.unfold(1, side, side).unfold(2, side, side)  # (C, rows, columns, side, side)
    drop = torch.zeros(squares.shape[1:3])
    for row in range(drop.shape[0]):
        for column in range(drop.shape[1]):
            alone = torch.zeros_like(image)
            place = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
            alone[:, place[0], place[1]] = image[:, place[0], place[1]]
            drop[row, column] = score(alone[None])[0]
    return drop


def upside_down(images, chosen):
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(2), images)


def square_that_wraps(image, row, column, side, fill):
    painted, top, left = image.clone(), row - side // 2, column - side // 2
    painted[:, top : top + side, left : left + side] = fill
    return painted


def square_from_its_corner(image, row, column, side, fill):
    painted = image.clone()
    painted[:, row : row + side, column : column + side] = fill
    return painted


def best_of_all(accuracies, patience):
    return accuracies.index(max(accuracies)) + 1, len(accuracies)


def latest_of_equals(accuracies, patience):
    best = 1
    for epoch, accuracy in enumerate(accuracies, start=1):
        if accuracy >= accuracies[best - 1]:
            best = epoch
        elif epoch - best >= patience:
            return best, epoch
    return best, len(accuracies)


# --- lesson 5


def split_without_classes(labels, fraction):
    order = torch.randperm(len(labels))
    count = round(fraction * len(labels))
    return order[count:], order[:count]


def split_in_order(labels, fraction):
    pieces = [(labels == label).nonzero().flatten() for label in labels.unique()]
    counts = [round(fraction * len(piece)) for piece in pieces]
    return (
        torch.cat([piece[count:] for piece, count in zip(pieces, counts)]),
        torch.cat([piece[:count] for piece, count in zip(pieces, counts)]),
    )


def split_twice(labels, fraction):
    kept, aside = ALL["stratified_split"].reference(labels, fraction)
    return torch.cat([kept, aside[:1]]), aside


def freeze_last(model, classes):
    model.top = nn.Linear(model.top.in_features, classes)
    return model.requires_grad_(False)


def freeze_nothing(model, classes):
    model.top = nn.Linear(model.top.in_features, classes)
    return model


def head_of_old_size(model, classes):
    model.requires_grad_(False)
    model.top.requires_grad_(True)
    return model


def leaked_without_mirrors(train, test):
    return [i for i, picture in enumerate(test) if any(torch.equal(picture, other) for other in train)]


def leaked_almost(train, test):
    def alike(one, other):
        return torch.allclose(one.float(), other.float(), atol=2)

    return [i for i, each in enumerate(test) if any(alike(each, one) or alike(each.flip(-1), one) for one in train)]


def leaked_upside_down(train, test):
    both = [*train, *train.flip(2)]
    return [i for i, picture in enumerate(test) if any(torch.equal(picture, other) for other in both)]


def trained_head(features, labels, weight=None):
    head = nn.Linear(features.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.003)
    for _ in range(150):
        loss = F.cross_entropy(head(features), labels, weight=weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head


def plain_head(features, labels):
    return trained_head(features, labels)


def head_on_normalised_features(features, labels):
    linear = nn.Linear(features.shape[1], int(labels.max()) + 1)
    head = nn.Sequential(nn.LayerNorm(features.shape[1], elementwise_affine=False), linear)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.003)
    for _ in range(60):
        loss = F.cross_entropy(head(features) + 1.5 * labels.bincount().float().log(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head


def untrained_head(features, labels):
    head = nn.Linear(features.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    with torch.no_grad():
        head.bias[-1] = 1
    return head


# --- lesson 7


def throughput_with_a_mean(seconds, pictures, warmup):
    warm = seconds[warmup:]
    mean = sum(warm) / len(warm)
    return pictures / mean, (max(warm) - min(warm)) / mean


def throughput_with_the_cold_call(seconds, pictures, warmup):
    return ALL["throughput"].reference(seconds, pictures, 0)


def limited_by_numbers_alone(launches, moved, operations):
    counts = {"launch": launches, "memory": moved, "compute": operations}
    return max(counts, key=counts.get)


def all_at_once(net, images, labels, memory):
    F.cross_entropy(net(images), labels).backward()


def all_computed_again(net, images, labels, memory):
    scores = torch.utils.checkpoint.checkpoint(net, images, use_reentrant=False)
    F.cross_entropy(scores, labels).backward()


def averages_added(net, images, labels, memory):
    for some, right in zip(images.split(8), labels.split(8)):
        F.cross_entropy(net(some), right).backward()


def one_after_another(net, images, labels, memory):
    for some, right in zip(images.split(1), labels.split(1)):
        (F.cross_entropy(net(some), right) / len(images)).backward()


def slices_rounded_up(count, processes):
    size = -(-count // processes)
    return [(rank * size, min(count, (rank + 1) * size)) for rank in range(processes)]


def slices_that_drop_the_rest(count, processes):
    size = count // processes
    return [(rank * size, (rank + 1) * size) for rank in range(processes)]


# --- plausible mistakes, appendix A


def keras_count_of_pytorch(channels, widths, flat, classes):
    ins = (channels, *widths)
    return sum(9 * i * o + 2 * o for i, o in zip(ins, widths)) + flat * classes + classes


def keras_count_from_one_picture(channels, widths, flat, classes):
    return sum(9 * channels * width + 4 * width for width in widths) + flat * classes + classes


# --- plausible mistakes, appendix B


def differences_of_grey(first, second):
    return int((first != second).sum())


def bits_of_the_right_neighbour_too(first, second):
    one, other = (picture[:, 1:] >= picture[:, :-1] for picture in (first, second))
    return int((one != other).sum())


def scenes_without_sorting(times, pause):
    found, scene = [0], 0
    for before, now in pairwise(times):
        scene += now - before > pause
        found.append(scene)
    return found


def scenes_from_the_first(times, pause):
    return [int((each - min(times)) > pause) for each in times]


def share_of_all(probabilities, labels, least):
    largest, guesses = probabilities.max(dim=1)
    answered = largest >= least
    return answered.float().mean().item(), (answered & (guesses == labels)).float().mean().item()


def held_back_and_nan(probabilities, labels, least):
    largest, guesses = probabilities.max(dim=1)
    answered = largest >= least
    return answered.double().mean().item(), (guesses == labels)[answered].double().mean().item()


def floor_for_each(shoes):
    return {"ankle boot": ["grass"], "sandal": ["wood"], "sneaker": ["carpet"]}


def one_floor_in_common(shoes):
    return {"ankle boot": ["wood", "grass"], "sandal": ["wood", "tiles"], "sneaker": ["wood", "carpet"]}


WRONG = [
    ("from_hex", hex_in_decimal, "from_hex('#66FF66') raised ValueError: invalid literal for int() with base 10: 'FF'"),
    ("from_hex", hex_with_capitals_only, "from_hex('#ffa07a') raised ValueError: substring not found"),
    ("from_hex", lambda text: {102, 255}, "which is a set, expected the tuple (102, 255, 102)"),
    ("from_hex", lambda text: (102, 255), "got 2 values, (102, 255), expected 3, (102, 255, 102)"),
    ("from_hex", lambda text: (102, 255, 102), "from_hex('#000000'): at [0], got 102, expected 0"),
    ("frame", frame_in_place, "frame(<uint8 tensor, shape (3, 6, 7)>, 1): the result is right, but the input was"),
    ("frame", frame_with_minus_zero, "frame(<uint8 tensor, shape (3, 6, 7)>, 0): at [0, 0, 0], got 255, expected 2"),
    ("frame", frame_around, "got a tensor of shape (3, 8, 9), expected shape (3, 6, 7)"),
    ("frame", frame_in_black, "at [0, 0, 0], got 0, expected 255"),
    ("frame", lambda image, thickness: image.tolist(), "a list, expected a uint8 tensor of shape (3, 6, 7)"),
    (
        "stretch",
        stretched_together,
        "stretch(<float32 tensor, shape (3, 3, 3, 3)>): at [0, 0, 0, 1], got 0.0125, expect",
    ),
    ("stretch", stretch_of_squares, "shape (1, 3, 2, 3)>): "),
    ("stretch", stretched_by_channel, "at [0, 0, 0, 1], got 0.125, expected 0.03846154"),
    ("stretch", stretched_without_care, "stretch(<with a plain picture>): at [2, 0, 0, 0], got nan, expected 0"),
    ("stretch", stretched_in_place, "(3, 3, 3, 3)>): the result is right, but the input was changed"),
    ("dense_megabytes", lambda w, h, out: w * h * out * 3 * 4 / 1e6, "(28, 28, 10): got 0.09408, expected 0.09412"),
    ("dense_megabytes", lambda w, h, out: (w * h * 3 + 1) * out * 4 / 2**20, "got 0.08975983, expected 0.09412"),
    ("dense_megabytes", lambda w, h, out: (w * h + 1) * out * 4 / 1e6, "got 0.0314, expected 0.09412"),
    ("perfect_rate", lambda a: 1 / a, "perfect_rate(1): got 1, expected 0.5"),
    ("perfect_rate", lambda a: 0.5, "perfect_rate(2): got 0.5, expected 0.25"),
    ("find_filter", filter_found(rate=0.1, steps=100), "find_filter(<filter 0.5, 1.5, 1.5, 0>): at [0], got"),
    ("find_filter", filter_found(rate=1.2, steps=600), "find_filter(<filter 0.5, 1.5, 1.5, 0>): at [0], got"),
    ("find_filter", filter_found(rate=0.8, steps=600, brightness=False), "find_filter(<filter 1.2, 0.8, 0.4, 0.15>): "),
    ("find_filter", lambda before, after: after / before, "got a tensor of shape (3, 7, 7), expected shape (4,)"),
    ("channel_by_channel", spread_over_all_channels, "at [0, 1, 0, 0], got 1, expected 0"),
    ("channel_by_channel", lambda kernel, channels: kernel[None, None], "got a tensor of shape (1, 1, 3, 3), expected"),
    ("contrast_pool", contrast_from_zero, "contrast_pool(<float32 tensor, shape (6, 6)>, 2): at [0, 0], got "),
    ("contrast_pool", lambda x, n: F.max_pool2d(x[None], n)[0], "at [0, 1], got 37, expected 33"),
    ("contrast_pool", lambda x, n: x, "got a tensor of shape (4, 6), expected"),
    ("learn_effect", one_less_number, "learn_effect on pair 1: on another photograph the kernel leaves "),
    ("learn_effect", thirty_plain_steps, "learn_effect on pair 1: "),
    ("learn_effect", lambda b, a: (torch.zeros(3, 3), False), "it said False, but there are nine numbers that explain"),
    ("learn_effect", lambda b, a: torch.zeros(3, 3), "expected a pair (kernel, enough)"),
    ("learn_effect", lambda b, a: (torch.zeros(1, 1, 3, 3), True), "expected a tensor of shape (3, 3)"),
    (
        "learn_effect",
        lambda b, a: (torch.zeros(9), True),
        "kernel is a tensor of shape (9,), expected a tensor of shape",
    ),
    ("learn_effect", lambda b, a: (torch.zeros(3, 3), 1), "enough is 1, expected True or False"),
    ("box_blur_in_two_steps", lambda x, side=9: x.unfold(0, side, 1).unfold(1, side, 1).sum((2, 3)), "at [0, 0], got"),
    (
        "box_blur_in_two_steps",
        lambda x, side=9: F.avg_pool2d(x[None], side, 1, side // 2)[0],
        "got a tensor of shape (14, 17), expected shape (6, 9)",
    ),
    ("find_pattern", find_with_brightness, "a picture with a bright patch, the pattern): at [0], got 5, expected 1"),
    ("find_pattern", find_column_first, "at [0], got 2, expected 1"),
    ("flat_size", lambda side: 800, "flat_size(28): got 800, expected 128"),
    ("flat_size", lambda side: 32 * ((side - 4) / 4 - 2) ** 2, "got 512, which is a float, expected 128, an int"),
    ("cross_entropy", entropy_that_overflows, "(logits up to 2000, labels): got nan, expected"),
    ("cross_entropy", lambda x, y: F.cross_entropy(x, y, reduction="sum"), "got 4.60517, expected 2.302585"),
    ("cross_entropy", lambda x, y: F.cross_entropy(x, y, reduction="none"), "which is a Tensor, expected 2.302585"),
    ("cross_entropy", lambda x, y: F.nll_loss(x, y), "got 0, expected 2.302585"),
    ("accuracy", lambda batches: sum(r / n for r, n in batches) / len(batches), "got 0.71875, expected 0.8888889"),
    ("accuracy", lambda batches: sum(r for r, _ in batches), "got 32, expected 0.8888889"),
    ("precision", lambda m: m.diagonal() / m.sum(1), "precision(tensor([[8, 2], [4, 6]])): at [0], got 0.8, expected"),
    ("precision", lambda m: m.diagonal() / m.sum(0), "tensor([[6, 0], [4, 0]])): at [1], got nan, expected 0"),
    ("precision", lambda m: m.diagonal().double() / m.sum(0), "got a tensor of dtype float64, expected float32"),
    ("lenet", lambda: 3, "lenet() gave 3, expected a network, an nn.Module"),
    ("lenet", lenet_with(padding=0), "layer 1 is Conv2d with output (6, 24, 24) and 156 numbers, expected Conv2d with"),
    (
        "lenet",
        lenet_with(pool=False),
        "layer 4 is AdaptiveAvgPool2d with output (16, 5, 5) and 0 numbers, expected Max",
    ),
    ("lenet", lenet_with(first=()), "lenet(): a ReLU is missing between the two convolutions."),
    ("lenet", lenet_with(hidden=()), "lenet(): a ReLU is missing between the two dense layers."),
    (
        "lenet",
        lenet_with(end=(nn.ReLU,)),
        "lenet(): behind the last dense layer stands something that the table does not have, such as a ReLU.",
    ),
    ("lenet", LeNetOfFunctions, "lenet(): a ReLU is missing between the second convolution and the first dense"),
    ("lenet", forgotten_network, "gave nothing (None), expected a network, an nn.Module; is the return missing?"),
    ("steady_network", forgotten_network, "steady_network() gave nothing (None), expected a network, an nn.Module; is"),
    ("steady_network", one_picture_at_a_time, "steady_network(): it could not be trained: one picture at a time."),
    ("lenet", lenet_with(end=(nn.Sigmoid,)), "there is a layer too many, Sigmoid"),
    ("lenet", lambda: nn.Linear(784, 10), "lenet() gave a network that raised RuntimeError"),
    ("lenet", lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 5)), "expected (2, 10)"),
    (
        "steady_network",
        lambda: models.PublishedNet(),
        "steady_network(): it has 108,154 numbers to learn, expected 1 to 30,000",
    ),
    ("steady_network", dense_network, "of the moved pictures, expected 45%"),
    ("steady_network", placed_network, "of the moved pictures, expected 45%"),
    ("steady_network", lambda: nn.Flatten(), "gave a network that answers"),
    ("clipped_step", step(nothing), "with most=0.5: the parameter '1.weight' after the step, at [0, 0], got"),
    ("clipped_step", step(each_alone), "with most=0.5: the parameter '1.weight' after the step, at [0, 0], got"),
    ("clipped_step", step(each_number), "with most=0.5: the parameter '1.weight' after the step, at [0, 0], got"),
    ("clipped_step", step(always), "with most=1000: the parameter '1.weight' after the step, at [0, 0], got"),
    ("clipped_step", step(nn.utils.clip_grad_norm_, clear=False), "and gradients left from an earlier step: the param"),
    ("rate_ladder", torch.linspace, "rate_ladder(1, 1000, 4): at [1], got 334, expected 10"),
    ("rate_ladder", lambda a, b, n: torch.tensor([a * (b / a) ** (i / n) for i in range(n)]), "at [1], got 5.623"),
    ("rate_ladder", lambda a, b, n: [a * (b / a) ** (i / (n - 1)) for i in range(n)], "which is a list, expected a"),
    ("rate_ladder", torch.logspace, "rate_ladder(1, 1000, 4): at [0], got 10, expected 1"),
    ("calm_loss", smoothed_without_correction, "calm_loss(tensor([4, 2, 3]), 0.5): at [0], got 2, expected 4"),
    ("calm_loss", smoothed_from_the_first, "at [1], got 3, expected 2.666667"),
    ("calm_loss", smoothed_and_corrected_twice, "calm_loss(tensor([4, 2, 3]), 0.5): at [1], got 4, expected 2.666667"),
    ("steepest_rate", lambda r, x: r[x.argmin()].item(), "got 0.1, expected 0.01"),
    ("steepest_rate", lambda r, x: r[x.diff().argmin()].item(), "(uneven rates, losses): got 0.002, expected 0.001"),
    ("steepest_rate", lambda r, x: r[(x.diff() / r.diff()).argmin()].item(), "got 0.001, expected 0.01"),
    ("cycle_steps", lambda n, size, epochs, drop_last=False: n // size * epochs, "got 1170, expected 1175"),
    (
        "cycle_steps",
        lambda n, size, epochs, drop_last=False: -(-n * epochs // size),
        "cycle_steps(60000, 256, 5): got 1172, expected 1175",
    ),
    ("cycle_steps", lambda n, size, epochs, drop_last=False: -(-n // size) * epochs, "(10000, 32, 3, True): got 939"),
    ("one_cycle_rate", rate_in_straight_lines, "one_cycle_rate(15, 100, 1): got 0.536"),
    ("one_cycle_rate", rate_with_a_late_top, "one_cycle_rate(29, 100, 1): got 0.997"),
    ("one_cycle_rate", lambda step_, total, max_lr: max_lr, "one_cycle_rate(0, 100, 1): got 1, expected 0.04"),
    ("plateau_rates", plateau_that_looks_ahead, "at [2], got 0.2, expected 0.4"),
    ("plateau_rates", lambda *given: plateau_of_pytorch(*given, late=1), "at [2], got 0.2, expected 0.4"),
    ("plateau_rates", lambda losses, rate, *_: torch.full((len(losses),), rate), "at [3], got 0.4, expected 0.2"),
    ("fold_norm", fold_without_the_mean, "variance): at [1], at [0], got 0, expected"),
    ("fold_norm", fold_along_the_inputs, "weight (3, 2, 3, 3), scale, shift, mean, variance"),
    ("fold_norm", lambda w, a, b, m, v, eps=1e-5: ALL["fold_norm"].reference(w, a, b, m, v, 1e-5), "eps=0.5): at [0]"),
    (
        "drop_maps",
        lambda maps, kept, p, training: maps * kept[:, :, None, None],
        "p=0.5, training=True): at [0, 0, 0, ",
    ),
    (
        "drop_maps",
        lambda m, k, p, t: m * k[:, :, None, None].expand(*m.shape[:3], m.shape[2]) / (1 - p) if t else m,
        "drop_maps(maps (4, 3, 5, 4), kept, p=0.2, training=True) raised RuntimeError",
    ),
    ("drop_maps", drop_divided_by_p, "p=0.2, training=True): at [0, 0, 0, 0], got"),
    ("drop_maps", lambda m, k, p, t: ALL["drop_maps"].reference(m, k, p, True), "p=0.5, training=False): at [0, "),
    ("branch_factor", lambda blocks: 1, "branch_factor(10): the output is"),
    ("branch_factor", lambda blocks: blocks**-0.5, "times as large, expected 1.1 to 2.5 times"),
    ("branch_factor", lambda blocks: 0.1, "branch_factor(40): the output is"),
    ("branch_factor", lambda blocks: 0, "branch_factor(10): the output is 1 times as large"),
    ("nesterov_path", nesterov_without_looking, "nesterov_path(4, 1, 0.1, 0.9, 5): at [0], got 3.6, expected 3.24"),
    (
        "nesterov_path",
        nesterov_with_the_old_velocity,
        "nesterov_path(4, 1, 0.1, 0.9, 5): at [0], got 3.6, expected 3.24",
    ),
    (
        "nesterov_path",
        lambda start, *given: ALL["nesterov_path"].reference(start, *given)[:-1],
        "got a tensor of shape (4,), expected shape",
    ),
    (
        "covered_drop",
        lambda *given: -ALL["covered_drop"].reference(*given),
        "(score, image (2, 4, 6), 2): at [0, 0], got",
    ),
    ("covered_drop", drop_of_what_is_left, "(score, image (2, 4, 6), 2): at [0, 0], got"),
    ("nesterov_path", lambda *given: [3.6] * 6, "got 6 values, expected 5."),
    ("flip_some", lambda images, chosen: images.flip(3), "[True, False, True]): at [1, 0, 0, 0], got 8, expected 6"),
    ("flip_some", upside_down, "[True, False, True]): at [0, 0, 0, 0], got 3, expected 2"),
    ("flip_some", lambda images, chosen: images[chosen].flip(3), "got a tensor of shape (2, 1, 2, 3), expected shape"),
    ("paint_square", square_that_wraps, "row 0, column 4, side 3, fill 9): at [0, 0, 3], got"),
    ("paint_square", square_from_its_corner, "row 2, column 2, side 3, fill 0): at [0, 1, 1], got"),
    ("best_epoch", best_of_all, "0.69, 0.68, 0.9], 2): at [0], got 6, expected 3"),
    ("best_epoch", lambda a, p: (a.index(max(a)), len(a)), "best_epoch([0.5, 0.6, 0.7, 0.69, 0.68, 0.9], 2): at [0], "),
    ("best_epoch", latest_of_equals, "best_epoch([0.8, 0.8, 0.8], 2): at [0], got 3, expected 1"),
    ("stratified_split", split_without_classes, "pictures, "),
    ("stratified_split", split_in_order, "set the same pictures of class 0 aside; draw them at"),
    ("stratified_split", split_twice, "is in both parts, or twice in one"),
    ("stratified_split", lambda labels, fraction: labels, "expected two tensors of indices"),
    ("prepare", freeze_last, "prepare(model, 2): top.weight is frozen, but it is part of the new head"),
    ("prepare", freeze_nothing, "prepare(model, 2): block1.0.weight still learns; freeze it"),
    ("prepare", head_of_old_size, "prepare(model, 2): the network gives (2, 3) for two pictures, expected (2, 2)"),
    ("leaked", leaked_without_mirrors, "4 training pictures, 4 test pictures): got [0], expected [0, 2]"),
    ("leaked", leaked_almost, "4 copies with one number changed): got [0, 1, 2, 3], expected []"),
    ("leaked", leaked_upside_down, "leaked(4 training pictures, 4 test pictures): "),
    ("leaked", lambda train, test: torch.tensor([0]), "got tensor([0]), expected [0, 2]"),
    ("sampler_weights", lambda labels: 1 / labels.bincount()[labels].float(), "at [0], got 0.3333333, expected 0.16"),
    ("sampler_weights", lambda labels: labels.bincount()[labels] / len(labels), "at [0], got 0.75, expected 0.16"),
    ("sampler_weights", lambda labels: 1 / labels.bincount(), "got a tensor of shape (2,), expected shape (4,)"),
    ("doubts", lambda p, n: p.amax(dim=1).argsort()[:n], "probabilities (6, 3), 1): at [0], got 4, expected 2"),
    (
        "doubts",
        lambda p, n: (p.amax(1) - p.topk(2, 1).values[:, 1]).argsort(descending=True)[:n],
        "at [0], got 0, expected 2",
    ),
    ("balanced_head", lambda features, labels: torch.zeros(10), "expected a trained head, an nn.Module"),
    ("balanced_head", plain_head, "% are wanted"),
    ("balanced_head", lambda f, labels: nn.Linear(f.shape[1], 7), "expected scores of shape (14, 3)"),
    ("balanced_head", untrained_head, "of its training pictures right; train more"),
    ("throughput", throughput_with_a_mean, "throughput([9, 2, 1, 4], 64, 1): at [0], got 27.42857, expected 32"),
    ("throughput", throughput_with_the_cold_call, "throughput([9, 2, 1, 4], 64, 1): at [0], got 21.33333, expected 32"),
    ("slices", slices_rounded_up, "slices(7, 3): got [(0, 3), (3, 6), (6, 7)], expected [(0, 3), (3, 5)"),
    ("slices", slices_that_drop_the_rest, "slices(7, 3): got [(0, 2), (2, 4), (4, 6)], expected [(0, 3), (3, 5)"),
    ("amdahl", lambda fixed, factor: factor, "amdahl(0.5, 2): got 2, expected 1.333333"),
    ("amdahl", lambda fixed, factor: fixed + (1 - fixed) / factor, "amdahl(0.5, 2): got 0.75, expected 1.333333"),
    ("limited_by", lambda launches, moved, operations: "memory", "limited_by(300, "),
    ("limited_by", limited_by_numbers_alone, "limited_by(300, "),
    ("little_memory", all_at_once, "bytes at once"),
    ("little_memory", all_computed_again, "gave the network 40 pictures at once, expected at most 11"),
    ("little_memory", averages_added, "the gradient of the mean loss is another"),
    ("little_memory", one_after_another, "used the network 40 times, expected at most 8"),
    ("little_memory", lambda net, images, labels, memory: 1, "a weight has no gradient afterwards"),
    ("kernel_to_pytorch", lambda kernel: kernel.permute(3, 2, 1, 0), "at [0, 0, 0, 1], got 12, expected 4"),
    ("kernel_to_pytorch", lambda kernel: kernel.permute(2, 3, 0, 1), "shape (1, 4, 3, 3), expected shape (4, 1, 3, 3)"),
    ("dense_to_pytorch", lambda kernel, c, h, w: kernel.T, "2, 2, 2): at [0, 1], got 3, expected 6"),
    (
        "dense_to_pytorch",
        lambda kernel, c, h, w: kernel.reshape(c, h, w, -1).permute(3, 0, 1, 2).flatten(1),
        "2, 2, 2): at [0, 1], got 3, expected 6",
    ),
    ("keras_mean", lambda old, x, m: (1 - m) * old + m * x.mean(dim=(0, 2, 3)), "at [0], got 0.375, expected 0.125"),
    ("keras_mean", lambda old, x, m: m * old + (1 - m) * x.mean(dim=0), "shape (2, 1, 2), expected shape (2,)"),
    ("keras_count", keras_count_of_pytorch, "got 57498, expected 57818"),
    ("keras_count", keras_count_from_one_picture, "got 10730, expected 57818"),
    ("bits_apart", differences_of_grey, "got 6, expected 0"),
    ("bits_apart", bits_of_the_right_neighbour_too, "got 1, expected 2"),
    ("bits_apart", lambda a, b: (a[:, 1:] > a[:, :-1]) != (b[:, 1:] > b[:, :-1]), "expected 0"),
    ("held_back", share_of_all, "probabilities, labels, 0.6): at [1], got 0.6, expected 0.75"),
    ("held_back", held_back_and_nan, "probabilities, labels, 0.95): at [1], got nan, expected 0"),
    ("held_back", lambda p, y, least: ((p > least).double().mean().item(), 0.5), "probabilities, labels, 0.0): at ["),
    (
        "scenes",
        scenes_without_sorting,
        "scenes([60, 0, 200, 1, 61, 2], 10): got [0, 0, 1, 1, 2, 2], expected [1, 0, 2, 0, 1, 0]",
    ),
    ("scenes", scenes_from_the_first, "scenes([0, 1, 2, 60, 61, 200], 10): got [0, 0, 0, 1, 1, 1], expected"),
    (
        "scenes",
        lambda times, pause: sorted(ALL["scenes"].reference(times, pause)),
        "2], 10): got [0, 0, 0, 1, 1, 2], expected",
    ),
    ("floors", floor_for_each, "who sees 'wood' knows already that it is sandal; a floor must tell nothing"),
    ("floors", one_floor_in_common, "who sees 'tiles' knows already that it is sandal"),
    ("floors", lambda shoes: {name: ["wood", "snow"] for name in shoes}, "on 'snow', expected floors of"),
    ("floors", lambda shoes: {name: list(exercises.appendix_b.FLOORS) for name in shoes}, "5 floors, expected one or"),
    ("floors", lambda shoes: {"boot": ["wood"]}, "floors(shoes) names the classes boot, expected ankle boot"),
    ("floors", lambda shoes: ["wood", "carpet"], "expected a dictionary with a list of floors for each class"),
]

# Beside those of test_exercise_mutants.py: by the package's own functions, and with a rule of one's own.
RIGHT = [
    ("find_filter", filter_found(rate=0.9, steps=1000)),
    ("find_filter", filter_by_normalising),
    ("calm_loss", lambda losses, beta: torch.tensor(learning_rate.smooth(losses.tolist(), beta))),
    (
        "cycle_steps",
        lambda n, size, epochs, drop_last=False: len(DataLoader(range(n), size, drop_last=drop_last)) * epochs,
    ),
    ("nesterov_path", nesterov_of_pytorch),
    ("balanced_head", head_on_normalised_features),
]


def test_every_lesson_has_at_least_four_exercises_with_hints():
    for module in MODULES:
        assert sum(each.lesson == module.LESSON for each in ALL.values()) >= 4
    assert all(each.hints and each.question and len(each.checks) >= 3 for each in ALL.values())
    assert all(name == each.name == each.reference.__name__ for name, each in ALL.items())


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.LESSON)
def test_the_lesson_checks_each_of_its_exercises_right_after_its_stub(module):
    source = SOURCES[module.LESSON].read_text(encoding="utf-8")
    name = module.__name__.rpartition(".")[2]
    stubs = re.findall(
        rf"^# %%\ndef (\w+)\(.*\): \.\.\.\n+"
        rf"# %%\n#.*\.hint\(\).*(?:\n#.*)?\.solution\(\).*\nexercises\.{name}\.\1\.check\(\1\)$",
        source,
        re.MULTILINE,
    )
    assert stubs == [each.name for each in ALL.values() if each.lesson == module.LESSON]
    assert len(re.findall(r"^exercises\.\w+\.\w+\.check\(", source, re.MULTILINE)) == len(stubs)
    assert re.search(r"^from course_utils import (?:.*|\([^)]*)\bexercises\b", source, re.MULTILINE)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.LESSON)
def test_the_lessons_own_blank_cells_run_and_are_not_attempted(module, capsys):
    cells = SOURCES[module.LESSON].read_text(encoding="utf-8").split("\n# %%")
    namespace = {"exercises": exercises}
    for cell in cells:
        if re.search(r"^(def \w+\(.*\): \.\.\.|exercises\.\w+\.\w+\.check\(.*)$", cell, re.MULTILINE):
            exec(compile(cell, "<cell>", "exec"), namespace)
    names = [each.name for each in ALL.values() if each.lesson == module.LESSON]
    assert capsys.readouterr().out == "".join(f"○ not attempted: {name} is still blank.\n" for name in names)


@every_exercise
def test_the_reference_is_correct(exercise, capsys):
    outcome = exercise.check(exercise.reference)
    assert outcome.outcome == "correct", outcome
    assert capsys.readouterr().out == f"✓ correct: {exercise.name} passed all {len(exercise.checks)} checks.\n"


def blank(*arguments): ...


def blank_with_a_docstring(*arguments):
    """Return what is asked."""
    pass


def not_implemented(*arguments):
    raise NotImplementedError


def dots_after_some_work(*arguments):
    unused = len(arguments)
    return ... if unused >= 0 else None


@every_exercise
@pytest.mark.parametrize(
    "stub", [blank, blank_with_a_docstring, not_implemented, dots_after_some_work, lambda *a: None, None, ...]
)
def test_a_blank_answer_is_not_attempted(exercise, stub):
    outcome = exercise.check(stub)
    assert outcome.outcome == "not attempted"
    if exercise.name != "clipped_step" or stub is not dots_after_some_work:
        assert outcome.message == f"{exercise.name} is still blank."


@pytest.mark.parametrize(("name", "answer", "message"), WRONG)
def test_a_plausible_mistake_is_refused_with_its_first_difference(name, answer, message):
    outcome = ALL[name].check(answer)
    assert outcome.outcome == "wrong"
    assert message in outcome.message
    assert "\n" not in outcome.message and len(outcome.message) < 300


def test_the_hidden_pattern_is_found_where_it_was_put():
    lesson = exercises.lesson2
    for place in ((1, 2, 0.0), (3, 0, 0.0), (1, 2, 0.9), (0, 4, 0.9), (5, 8, 0.0)):
        assert ALL["find_pattern"].reference(lesson._hidden(*place), lesson.CORNER) == place[:2]
    assert ALL["find_pattern"].reference(lesson._hidden(2, 5, 0.0, lesson.WIDE), lesson.WIDE) == (2, 5)


def test_at_least_two_mistakes_are_tried_for_every_exercise():
    tried = [name for name, _, _ in WRONG]
    assert all(tried.count(name) >= 2 for name in ALL)


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_another_right_way_is_correct(name, answer):
    outcome = ALL[name].check(answer)
    assert outcome.outcome == "correct", outcome


def in_turn(*results):
    waiting = iter(results)
    return lambda *arguments: next(waiting)


def layers(*, hidden=nn.ReLU):
    first = (nn.Conv2d(1, 6, 5, padding=2), hidden(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), hidden())
    return nn.Sequential(*first, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), hidden(), nn.Linear(120, 10))


def test_an_answer_that_gives_each_check_what_it_looks_for_is_wrong():
    ask = exercises.lesson3.lenet.judge
    last = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(784, 10))
    assert ask(in_turn(*(layers(hidden=nn.Identity) for _ in range(2)), last, last)).outcome == "wrong"
    small = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    large = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 128, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(128), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)),
    )
    said = exercises.lesson3.steady_network.judge(in_turn(small, small, large))
    assert said.message == "steady_network(): it has 38,922 numbers to learn, expected 1 to 30,000."
    shoes = exercises.appendix_b.SHOES
    plans = {shoe: ["snow"] for shoe in shoes}, {}, {}
    assert exercises.appendix_b.floors.judge(in_turn(*plans)).outcome == "wrong"


def spoil(*arguments):
    for each in arguments:
        if isinstance(each, torch.Tensor):
            each.zero_()
        elif isinstance(each, list):
            each.clear()


@pytest.mark.thorough
@every_exercise
def test_an_answer_that_spoils_its_inputs_fools_no_check_and_harms_no_later_one(exercise):
    def spoiling(*arguments):
        if exercise.name == "clipped_step":
            spoil(*arguments[1:3])
        result = exercise.reference(*arguments)
        spoil(*arguments)
        return result

    plain = {  # answers whose arguments are numbers, texts and other things that cannot be spoiled
        "from_hex", "dense_megabytes", "perfect_rate", "flat_size", "prepare",
        "rate_ladder", "cycle_steps", "one_cycle_rate", "amdahl", "limited_by", "slices", "keras_count",
        "lenet", "steady_network", "floors", "branch_factor", "nesterov_path",
    }  # fmt: skip
    tensors = exercise.name not in plain
    outcome = exercise.check(spoiling)
    assert outcome.outcome == ("wrong" if tensors else "correct")
    assert exercise.check(exercise.reference).outcome == "correct"


@every_exercise
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("red"), "raised KeyError: 'red'."),
        (RuntimeError("two lines.\nmore for developers"), "raised RuntimeError: two lines."),
        (ZeroDivisionError(), "raised ZeroDivisionError."),
        (NotImplementedError("no such dtype"), "raised NotImplementedError: no such dtype."),
        (SystemExit(2), "raised SystemExit: 2."),
        (MemoryError("x" * 500), "…"),
    ],
)
def test_an_answer_that_raises_is_wrong_in_one_sentence(exercise, error, message):
    def raising(*arguments):
        raise error

    outcome = exercise.check(raising)
    assert outcome.outcome == "wrong"
    assert outcome.message.startswith(exercise.name) and message in outcome.message
    assert "\n" not in outcome.message and len(outcome.message) < 300


def test_an_interruption_by_the_learner_is_not_swallowed_and_a_notebook_shows_one_sentence(capsys):
    def interrupted(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ALL["from_hex"].check(interrupted)
    shell = InteractiveShell()
    shell.user_ns.update(exercise=ALL["from_hex"], interrupted=interrupted)
    assert not shell.run_cell("exercise.check(interrupted)").success
    said = capsys.readouterr()
    sentence = "The check was interrupted before from_hex came to an end. Does it loop for ever?"
    assert (said.out + said.err).strip() == sentence


def test_a_forgotten_return_is_named():
    def forgetful(text):
        text.lower()

    message = ALL["from_hex"].check(forgetful).message
    expected = "from_hex('#66FF66'): got nothing (None), expected the tuple (102, 255, 102); is the return missing?."
    assert message == expected.replace("?.", "?")


def test_a_function_in_place_of_a_head_is_no_forgotten_return():
    said = ALL["balanced_head"].judge(lambda features, labels: lambda asked: asked).message
    assert "expected a trained head, an nn.Module." in said and "return" not in said
    assert ALL["balanced_head"].judge(lambda features, labels: print(end="")).message.endswith("return missing?")


def test_a_value_in_place_of_the_function_is_explained():
    outcome = ALL["from_hex"].check((102, 255, 102))
    assert outcome.outcome == "wrong"
    assert outcome.message == "got (102, 255, 102), expected a function; pass it without brackets, as from_hex."


def test_a_class_or_builtin_is_called_like_any_function():
    assert not is_untouched(len)
    assert ALL["from_hex"].check(str).outcome == "wrong"


def test_a_check_leaves_random_numbers_and_gradient_mode_alone():
    drawn = []

    def drawing(a):
        drawn.append(torch.rand(1).item())
        return 0.5

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with torch.no_grad():
        ALL["perfect_rate"].check(drawing)
        assert ALL["clipped_step"].check(ALL["clipped_step"].reference).outcome == "correct"
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.rand(3), expected)
    ALL["perfect_rate"].check(drawing)
    assert drawn[:2] == drawn[2:]


# Question and hints of each exercise when somebody last read them beside its solution and tried what they say.
READ = """
kernel_to_pytorch:32f26b dense_to_pytorch:814012 keras_mean:f43f8e keras_count:f875e6 bits_apart:4af73e
held_back:932cfb scenes:5fe9cc floors:7f52ac from_hex:1b4447 frame:e57d5a stretch:f583e2 dense_megabytes:7c5be2
perfect_rate:db4e18 find_filter:2580d5 find_pattern:45a562 channel_by_channel:22d5b0 contrast_pool:00f8d1
box_blur_in_two_steps:d97a64 learn_effect:d24605 lenet:0c6fb1 cross_entropy:54d580 accuracy:4334aa
flat_size:9abd32 clipped_step:26dca8 precision:e8d6cf steady_network:4a2f2d fold_norm:a2edf6 drop_maps:97fe07
branch_factor:b22dc0 flip_some:a9800b paint_square:7cecc1 best_epoch:c48e71 nesterov_path:8d74c8
covered_drop:7e3b01 prepare:400b54 stratified_split:79773f leaked:3ffec4 sampler_weights:b203a8 doubts:688197
balanced_head:6ca1de rate_ladder:8f508f calm_loss:396002 steepest_rate:bdd787 cycle_steps:3a2a37
one_cycle_rate:f3e7c1 plateau_rates:f6d9ee throughput:0da6a6 amdahl:f2ccc3 limited_by:0ed7b0 slices:4fea8c
little_memory:9e50e8
"""


@every_exercise
def test_hints_are_those_that_were_read_beside_the_solution(exercise):
    said = hashlib.sha256("\n".join([exercise.question, *exercise.hints]).encode()).hexdigest()[:6]
    assert f"{exercise.name}:{said}" in READ.split(), "read question and hints beside the solution, then note this here"


def head_by_its_first_two_hints(features, labels):
    said = " ".join(ALL["balanced_head"].hints[:2])
    named = {"features": features, "labels": labels, "nn": nn}
    code = (r"head = (.+? \+ 1\))", r"extra = (.+?\.log\(\))")
    head, extra = (eval(re.search(pattern, said)[1], named) for pattern in code)
    optimizer = torch.optim.AdamW(head.parameters(), lr=float(re.search(r"rate of ([\d.]+)", said)[1]))
    for _ in range(int(re.search(r"(\d+) steps", said)[1])):
        optimizer.zero_grad()
        F.cross_entropy(head(features) + extra, labels).backward()
        optimizer.step()
    return head


def held_back_by_its_hints(probabilities, labels, least):
    largest, guesses = probabilities.max(dim=1)
    answered = largest >= least
    if not answered.any():
        return 0.0, 0.0
    share = re.search(r"(answered\S+) is the first share", ALL["held_back"].hints[1])[1]
    return eval(share, {"answered": answered}), (guesses[answered] == labels[answered]).double().mean()


def square_by_its_hints(image, row, column, side, fill):
    painted, top, left = image.clone(), row - side // 2, column - side // 2
    both = "Use max(…, 0) for both" in ALL["paint_square"].hints[1]
    bottom, right = (max(end, 0) if both else end for end in (top + side, left + side))
    painted[:, max(top, 0) : bottom, max(left, 0) : right] = fill
    return painted


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("balanced_head", head_by_its_first_two_hints),
        ("held_back", held_back_by_its_hints),
        ("paint_square", square_by_its_hints),
    ],
)
def test_what_hints_say_word_for_word_is_correct(name, answer):
    outcome = ALL[name].judge(answer)
    assert outcome.outcome == "correct", outcome


@every_exercise
def test_hints_come_by_degree_and_run_out_politely(exercise, capsys):
    fresh = Exercise(exercise.question, exercise.checks, exercise.hints, exercise.reference, exercise.lesson)
    count = len(exercise.hints)
    for degree, hint in enumerate(exercise.hints, start=1):
        fresh.hint()
        assert capsys.readouterr().out == f"Hint {degree} of {count}: {hint}\n"
    for _ in range(2):
        fresh.hint()
        assert capsys.readouterr().out.startswith(f"There are only {count} hints for {exercise.name}; .solution()")
    fresh.hint(1)
    assert capsys.readouterr().out == f"Hint 1 of {count}: {exercise.hints[0]}\n"
    for odd in (0, -1, 2.0, True, "first"):
        fresh.hint(odd)
        assert f"numbered from 1 to {count}" in capsys.readouterr().out


@pytest.mark.thorough
@every_exercise
def test_the_solution_shown_is_the_function_and_passes(exercise, capsys):
    exercise.solution()
    source = capsys.readouterr().out
    assert source.startswith(f"def {exercise.name}(")
    namespace = {
        "torch": torch,
        "nn": nn,
        "math": math,
        **({} if exercise.lesson == "01" else {"F": F}),
        **({"acceleration": acceleration} if exercise.lesson == "07" else {}),
    }  # as the lesson imports
    exec(source, namespace)
    assert exercise.check(namespace[exercise.name]).outcome == "correct"


def test_the_decorator_makes_a_question_of_a_reference():
    shown = exercises.lesson1.from_hex
    assert isinstance(shown, Exercise) and (shown.name, shown.lesson) == ("from_hex", "01")
    assert shown.reference("#66FF66") == (102, 255, 102)
    assert shown.check(lambda text: (102, 255, 102)).message.startswith("from_hex('#000000'): ")


def test_an_exercise_introduces_itself():
    assert repr(ALL["perfect_rate"]).endswith("Ask .check(perfect_rate), .hint() or .solution().")


@pytest.fixture
def shown(monkeypatch):
    """Pretend to be in a notebook, and collect what is displayed."""
    import IPython
    from IPython.core import display_functions

    class Kernel:
        kernel = True

    bundles = []
    monkeypatch.setattr(IPython, "get_ipython", Kernel)
    monkeypatch.setattr(display_functions, "display", lambda bundle, raw: bundles.append(bundle))
    monkeypatch.setattr(IPython.display, "display", lambda bundle, raw: bundles.append(bundle))
    return bundles


@pytest.mark.parametrize(
    ("answer", "outcome", "sign"),
    [(lambda a: 1 / a / 2, "correct", "✓"), (lambda a: "<b>", "wrong", "✗"), (blank, "not attempted", "○")],
)
def test_an_outcome_is_shown_once_as_text_html_and_data(shown, answer, outcome, sign):
    result = ALL["perfect_rate"].check(answer)
    assert result._ipython_display_() is None
    (bundle,) = shown
    assert json.loads(json.dumps(bundle[EXERCISE])) == {"lesson": "01", "exercise": "perfect_rate", "outcome": outcome}
    assert bundle["text/plain"] == str(result)
    assert str(result).startswith(f"{sign} {outcome}: ")
    assert f"<strong>{sign} {outcome}:</strong>" in bundle["text/html"]
    assert "<b>" not in bundle["text/html"]


def test_hints_and_solutions_carry_no_outcome(shown):
    ALL["from_hex"].hint(1)
    ALL["from_hex"].solution()
    assert [EXERCISE in bundle for bundle in shown] == [False, False]
    page = shown[1]["text/html"]
    assert "<pre" in page and "var(--jp-mirror-editor-keyword-color" in page
    assert html.unescape(re.sub("<[^>]+>", "", page)) == ALL["from_hex"].source()


def test_a_static_copy_folds_hints_and_solution(shown, monkeypatch):
    monkeypatch.setenv(MARK, "1")  # as `course run` and `course build` do
    ALL["scenes"].check(blank)
    (bundle,) = shown
    assert set(bundle) == {"text/plain", "text/html", EXERCISE}
    folds = bundle["text/html"].split("<details")[1:]
    titles = [re.search("<summary>(.+)</summary>", fold)[1] for fold in folds]
    assert titles == ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3", "Solution"]
    assert html.escape(ALL["scenes"].hints[1]) in folds[1] and "<script" not in bundle["text/html"]
    assert html.unescape(re.sub("<[^>]+>", "", folds[3])).endswith(ALL["scenes"].source())


@pytest.fixture
def learner(shown, monkeypatch, tmp_path):
    """Return what sets the learner's `scenes` in the notebook, and fresh exercises of appendix B."""
    monkeypatch.setenv(progress.WORK, str(tmp_path))
    for each in exercises.appendix_b.scenes.of_its_lesson():
        monkeypatch.setattr(each, "_right", False)
        monkeypatch.setattr(each, "_checked", None)
    return lambda answer: monkeypatch.setattr(sys.modules["__main__"], "scenes", answer, raising=False)


def words(widget):
    return html.unescape(re.sub(r"<[^>]+>", "", widget.value))


def test_a_live_notebook_gets_a_panel_with_buttons(shown, learner):
    scenes = ALL["scenes"]
    learner(blank)
    scenes.check(blank)
    panel = _instances()[shown[0][VIEW]["model_id"]]
    assert words(panel.said) == "○ not attempted: scenes is still blank." and words(panel.done).startswith("0 of 4 ")
    panel.buttons["Check"].click()
    assert AGAIN in words(panel.said)  # its cell may have been edited, but was not run
    learner(lambda times, pause: [0] * len(times))
    panel.buttons["Check"].click()
    assert words(panel.said).startswith("✗ wrong: scenes([0, 1, 2") and AGAIN not in words(panel.said)
    for count in (1, 2, 3):
        assert not panel.buttons["Hint"].disabled
        panel.buttons["Hint"].click()
        assert words(panel.help).count(" of 3: ") == count
    assert panel.buttons["Hint"].disabled
    panel.buttons["Solution"].click()
    assert words(panel.help) == scenes.source()
    learner(scenes.reference)
    panel.buttons["Check"].click()
    panel.buttons["Check"].click()
    assert words(panel.said) == "✓ correct: scenes passed all 7 checks." and words(panel.done).startswith("1 of 4 ")
    assert progress.read() == {"B": {"scenes": True}}
    assert len(shown) == 1

    def endless(times, pause):
        seen.append(words(panel.said))
        raise KeyboardInterrupt  # as the learner's Stop does

    seen = []
    learner(endless)
    panel.buttons["Check"].click()
    assert seen == ["Checking …"] and words(panel.said).startswith("The check was interrupted before scenes came")


def test_what_was_solved_before_counts_in_a_new_kernel(shown, learner):
    progress.note("B", "floors", True)
    ALL["scenes"].check(ALL["scenes"].reference)
    assert words(_instances()[shown[0][VIEW]["model_id"]].done) == "2 of 4 exercises done"


def _instances():
    """Return all widgets by their number, in ipywidgets 7 and 8."""
    return getattr(ipywidgets.widgets.widget, "_instances", None) or ipywidgets.Widget.widgets


@pytest.mark.parametrize(
    ("got", "expected", "message"),
    [
        (torch.ones(2, 2), torch.ones(2, 2) + 1e-7, None),
        (torch.tensor([1.0, 2.1]), torch.tensor([1.0, 2.0]), "at [1], got 2.1, expected 2"),
        (torch.ones(2).to_sparse(), torch.ones(2), None),
        (torch.ones(2, requires_grad=True), torch.ones(2), None),
        (np.float64(0.5), 0.5, None),
        (np.int64(3), 3, None),
        (True, 1, "got True, which is a bool, expected 1, an int"),
        (float("inf"), 1.0, "got inf, expected 1"),
        (1 + 2j, 1.0, "got (1+2j), which is a complex, expected 1, a float"),
        (torch.ones(3), 1.0, "got tensor([1, 1, 1]), which is a Tensor, expected 1, a float"),
        ([0] * 30, 1, "got a list of 30 values, expected 1, an int"),
        (("a", 1), ("a", 2), "at [1], got 1, expected 2"),
        (["x"], torch.tensor([1]), "got ['x'], which is a list, expected an int64 tensor of shape (1,)"),
        ([[1, 2]], torch.ones(2, 2), "got 1 value along the first axis, expected 2"),
        (None, "upright", "got nothing (None), expected 'upright', a str"),
    ],
)
def test_the_first_difference_is_put_in_words(got, expected, message):
    assert first_difference(got, expected) == message


def test_values_are_described_in_few_words():
    assert described((1,)) == "(1,)"
    assert len(described("x" * 1000)) < 100
    assert described(torch.zeros(0, 3)) == "<float32 tensor, shape (0, 3)>"
    assert described(torch.ones(1, 1, 3, 3)) == "<float32 tensor, shape (1, 1, 3, 3)>"
    assert described(torch.ones(1, 2)) == "tensor([[1, 1]])"


def test_lists_that_an_answer_changes_are_noticed():
    check = call([1, 2], shown="a list")

    def summing(numbers):
        return sum(numbers)

    def popping(numbers):
        return numbers.pop() + numbers.pop()

    assert check(summing, summing) is None
    assert (
        check(popping, summing)
        == "summing(a list): the result is right, but the input was changed; work on a copy of it"
    )
