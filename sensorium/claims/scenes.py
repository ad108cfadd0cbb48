"""Small pictures of textured shapes, drawn from numbers: data whose every factor is known.

A scene is some objects on a noisy, shaded ground. All scenes of a batch are drawn at once, each
object as a signed distance (after Quilez's two-dimensional distance functions) with an edge of one
pixel. The same numbers and the same seed give the same pixels.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

PIXELS = 32
SHAPES = ("disc", "square", "triangle", "cross", "ring", "star", "bar", "crescent")
TEXTURES = ("plain", "stripes", "dots", "checks", "grain")
CHUNK = 512  # scenes drawn at once


class Objects(NamedTuple):
    """What stands in each of n scenes: k objects, the first drawn first."""

    shape: Int[np.ndarray, "n k"]  # index into SHAPES
    texture: Int[np.ndarray, "n k"]  # index into TEXTURES
    colour: Float[np.ndarray, "n k 3"]  # 0 to 1
    x: Float[np.ndarray, "n k"]  # pixels from the left
    y: Float[np.ndarray, "n k"]  # pixels from the top
    radius: Float[np.ndarray, "n k"]  # pixels
    angle: Float[np.ndarray, "n k"]  # radians


def draw(
    objects: Objects, rng: np.random.Generator, noise: float
) -> Float[np.ndarray, "n 3 32 32"]:
    """Pictures in float32, about -1 to 1; `noise` is the deviation of the pixel noise in 0 to 1."""
    n = len(objects.shape)
    parts = [
        _draw(Objects(*(field[at : at + CHUNK] for field in objects)), rng, noise)
        for at in range(0, n, CHUNK)
    ]
    return np.concatenate(parts) if parts else np.empty((0, 3, PIXELS, PIXELS), np.float32)


def _draw(objects: Objects, rng: np.random.Generator, noise: float) -> np.ndarray:
    n, k = objects.shape.shape
    row, column = np.mgrid[:PIXELS, :PIXELS].astype(np.float32) + 0.5
    picture = ground(n, rng)
    for j in range(k):
        one = Objects(*(field[:, j] for field in objects))
        u, v = local(one, row, column)
        inside = np.zeros_like(u)
        for shape in np.unique(one.shape):
            which = one.shape == shape
            far = distance(SHAPES[shape], u[which], v[which]) * spread(one.radius[which])
            inside[which] = np.clip(0.5 - far, 0, 1)
        shade = np.ones_like(u)
        for texture in np.unique(one.texture):
            which = one.texture == texture
            place = (u[which] * spread(one.radius[which]), v[which] * spread(one.radius[which]))
            shade[which] = surface(TEXTURES[texture], *place, rng)
        colour = one.colour.astype(np.float32)[:, :, None, None] * shade[:, None]
        picture += inside[:, None] * (colour - picture)
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(noise)
    return (picture * 2 - 1).astype(np.float32)


def ground(n: int, rng: np.random.Generator) -> Float[np.ndarray, "n 3 32 32"]:
    """A shade from one dull colour to another, in any direction."""
    row, column = np.mgrid[:PIXELS, :PIXELS].astype(np.float32) / PIXELS - 0.5
    turn = spread(rng.uniform(0, 2 * np.pi, n))
    ramp = np.clip(0.5 + np.cos(turn) * column + np.sin(turn) * row, 0, 1)[:, None]
    ends = rng.uniform(0.1, 0.4, (2, n, 3, 1, 1)).astype(np.float32)
    return ends[0] * (1 - ramp) + ends[1] * ramp


def spread(x: np.ndarray) -> Float[np.ndarray, "n 1 1"]:
    """One number a scene, to be spread over its pixels."""
    return x.astype(np.float32)[:, None, None]


def local(one: Objects, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in the object's own axes, in units of its radius."""
    across, down = column - spread(one.x), row - spread(one.y)
    cos, sin = spread(np.cos(one.angle)), spread(np.sin(one.angle))
    size = spread(one.radius)
    return (cos * across + sin * down) / size, (cos * down - sin * across) / size


def distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """About the signed distance to the outline in radii, negative inside.

    Raises:
        ValueError: no shape has that name.
    """
    if shape == "disc":
        return np.hypot(u, v) - 0.9
    if shape == "square":
        return np.maximum(abs(u), abs(v)) - 0.8
    if shape == "triangle":
        return np.maximum(abs(u) * 0.866 + v * 0.5, -v) - 0.5
    if shape == "cross":
        return np.minimum(
            np.maximum(abs(u) - 1, abs(v) - 0.35), np.maximum(abs(u) - 0.35, abs(v) - 1)
        )
    if shape == "ring":
        return abs(np.hypot(u, v) - 0.7) - 0.28
    if shape == "star":
        return (np.hypot(u, v) - (0.68 + 0.32 * np.cos(5 * np.arctan2(v, u)))) * 0.6
    if shape == "bar":
        return np.maximum(abs(u) - 1.1, abs(v) - 0.42)
    if shape == "crescent":
        return np.maximum(np.hypot(u, v) - 1, 0.85 - np.hypot(u - 0.55, v))
    raise ValueError(f"shape {shape!r} is not known; choose one of: {', '.join(SHAPES)}")


def surface(texture: str, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness over the surface, 0.3 to 1; `a` and `b` are pixels along the object's axes.

    Raises:
        ValueError: no texture has that name.
    """
    phase = 2 * np.pi * rng.random((2, len(a), 1, 1), dtype=np.float32)
    p, q = np.sin(a * 1.2 + phase[0]), np.sin(b * 1.2 + phase[1])
    if texture == "plain":
        return np.full_like(a, 0.8)
    if texture == "stripes":
        return np.where(p > 0, np.float32(1), np.float32(0.3))
    if texture == "dots":
        return np.where((p > 0.2) & (q > 0.2), np.float32(0.3), np.float32(1))
    if texture == "checks":
        return np.where(p * q > 0, np.float32(1), np.float32(0.3))
    if texture == "grain":
        return rng.uniform(0.3, 1, a.shape).astype(np.float32)
    raise ValueError(f"texture {texture!r} is not known; choose one of: {', '.join(TEXTURES)}")
