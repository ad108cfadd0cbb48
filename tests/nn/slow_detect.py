"""Twins of the detector's parts as anybody would write them: loops, one number at a time."""

import math

import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, limit: float, extra: int = 0) -> list[int]:
    left = sorted(range(len(boxes)), key=lambda i: -float(scores[i]))
    kept: list[int] = []
    for i in left:
        if all(overlap(boxes[i], boxes[j], extra) <= limit for j in kept):
            kept.append(i)
    return kept


def overlap(a: Tensor, b: Tensor, extra: int) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0]) + extra
    tall = min(a[3], b[3]) - max(a[1], b[1]) + extra
    shared = max(wide, torch.tensor(0.0)) * max(tall, torch.tensor(0.0))
    areas = [(c[2] - c[0] + extra) * (c[3] - c[1] + extra) for c in (a, b)]
    whole = areas[0] + areas[1] - shared
    return float(shared / whole) if whole > 0 else 0.0


def roi_pool(x: Tensor, boxes: Tensor, side: int, scale: float) -> Tensor:
    channels, height, width = x.shape
    out = []
    for box in boxes.tolist():
        x1, y1, x2, y2 = (math.floor(v * scale + 0.5) for v in box)
        wide, tall = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
        for p in range(side):
            top, bottom = (
                min(max(y1 + v, 0), height)
                for v in (math.floor(p * tall / side), math.ceil((p + 1) * tall / side))
            )
            for q in range(side):
                left, right = (
                    min(max(x1 + v, 0), width)
                    for v in (math.floor(q * wide / side), math.ceil((q + 1) * wide / side))
                )
                cells = x[:, top:bottom, left:right].reshape(channels, -1)
                out.append(cells.amax(1) if cells.numel() else torch.zeros(channels))
    return torch.stack(out).view(len(boxes), side, side, channels).permute(0, 3, 1, 2)


def roi_align(x: Tensor, boxes: Tensor, side: int, scale: float, samples: int) -> Tensor:
    channels = len(x)
    out = []
    for box in boxes.tolist():
        x1, y1, x2, y2 = (v * scale - 0.5 for v in box)
        for p in range(side):
            for q in range(side):
                total = torch.zeros(channels, dtype=x.dtype)
                for i in range(samples):
                    for j in range(samples):
                        y = y1 + (p + (i + 0.5) / samples) * (y2 - y1) / side
                        z = x1 + (q + (j + 0.5) / samples) * (x2 - x1) / side
                        total = total + point(x, y, z)
                out.append(total / samples**2)
    return torch.stack(out).view(len(boxes), side, side, channels).permute(0, 3, 1, 2)


def point(x: Tensor, y: float, z: float) -> Tensor:
    _, height, width = x.shape
    if y < -1 or y > height or z < -1 or z > width:
        return torch.zeros(len(x), dtype=x.dtype)
    y, z = min(max(y, 0), height - 1), min(max(z, 0), width - 1)
    top, left = int(y), int(z)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dz = y - top, z - left
    upper = x[:, top, left] * (1 - dz) + x[:, top, right] * dz
    lower = x[:, below, left] * (1 - dz) + x[:, below, right] * dz
    return upper * (1 - dy) + lower * dy


def match(truth: Tensor, boxes: Tensor, low: float, high: float, rescue: bool) -> list[int]:
    table = [[overlap(t, b, 0) for t in truth] for b in boxes]
    found = []
    for row in table:
        best = max(row)
        found.append(row.index(best) if best >= high else -1 if best < low else -2)
    if rescue:
        for t in range(len(truth)):
            most = max(row[t] for row in table)
            for i, row in enumerate(table):
                if most > 0 and row[t] == most:
                    found[i] = row.index(max(row))
    return found
