"""The layout of the arrays that the rasterizer fills and its kernels read.

Each class is one row of an array. ``q`` is the number that depth is compared by: larger for what is nearer, and linear
across the image of a triangle (`visibility_kernels.py`). Colours are linear light; 1 is white.
"""

from __future__ import annotations

from diffsim.records import Record, field

# what the primitive buffer holds where a sample sees neither face f (stored as f) nor particle p (stored as F + p)
# SEES_NOTHING: of a layer of see-through things, a sample that none of them covers
SEES_BACKGROUND, SEES_GROUND, SEES_NOTHING = -1, -2, -3


class ImagePoint(Record):
    """A point projected into an image or a light's map."""

    x = field(1, "sample", "to the right; centres of samples lie at half-integers")
    y = field(1, "sample", "down in an image, along the second axis in a map")
    q = field(1, "1/m", "1 / depth in an image; in a map, metres towards the light")


class Face(Record):
    """A triangle's vertices, int32."""

    a = field(1, "1", "index of the first vertex")
    b = field(1, "1", "index of the second vertex")
    c = field(1, "1", "index of the third vertex")


class VertexLook(Record):
    """What shading needs of a vertex."""

    normal = field(3, "1", "unit normal, world")
    color = field(3, "1", "linear colour")


class Particle(Record):
    """A sphere in the world."""

    center = field(3, "m", "world position")
    color = field(3, "1", "linear colour")


class Range(Record):
    """Which primitives a layer draws, int32: faces and particles from a first one up to, without it, a last one."""

    first_face = field(1, "1")
    last_face = field(1, "1")
    first_particle = field(1, "1")
    last_particle = field(1, "1")


class ImageSphere(Record):
    """A sphere as the camera sees it."""

    center = field(3, "m", "along the camera's right, up, forward")
    radius = field(1, "m")
    left = field(1, "sample", "smallest x of its image")
    right = field(1, "sample", "largest x of its image")
    top = field(1, "sample", "smallest y of its image")
    bottom = field(1, "sample", "largest y of its image")


class View(Record):
    """The camera: the sample (x, y) of a W x H buffer sees along forward + (x - W/2) right - (y - H/2) up."""

    position = field(3, "m", "the eye, world")
    right = field(3, "1", "world; as long as a sample is wide at unit depth")
    up = field(3, "1", "world; as long as a sample is high at unit depth")
    forward = field(3, "1", "world, unit")


class LightMap(Record):
    """Where a light's depth map looks: a world point p falls on (x_axis . p + x_origin, y_axis . p + y_origin)."""

    x_axis = field(3, "texel/m", "the map's x axis, world")
    y_axis = field(3, "texel/m", "the map's y axis, world")
    direction = field(3, "1", "unit, from the scene to the light, world")
    texel = field(1, "m", "edge of a texel")
    x_origin = field(1, "texel", "map x of the world's origin")
    y_origin = field(1, "texel", "map y of the world's origin")


class GroundGrid(Record):
    """The grid of points on the ground at which the sky's light is known."""

    x = field(1, "m", "world x of the first point")
    y = field(1, "m", "world y of the first point")
    spacing = field(1, "m", "between neighbours")


class Palette(Record):
    """The lights, and the colours of what is no mesh and no particle. A light's colour is what it adds to a white surface."""

    sun = field(3, "1", "the sun's light")
    sky = field(3, "1", "the sky's light")
    bounce = field(3, "1", "light that the ground throws back")
    ground = field(3, "1", "colour of the ground")
    lines = field(3, "1", "colour of the ground's grid lines")
    background = field(3, "1", "colour of the background at the horizon")
    zenith = field(3, "1", "colour of the background straight up")


class Ground(Record):
    """The ground plane."""

    height = field(1, "m", "world z")
    spacing = field(1, "m", "between grid lines; 0 draws none")
    center_x = field(1, "m", "middle of the part that is visible")
    center_y = field(1, "m")
    extent_x = field(1, "m", "half extent inside which it is fully visible; gone at twice as far")
    extent_y = field(1, "m")
    shade_low_x = field(1, "m", "the rectangle outside which all of the ground lies in the sun")
    shade_low_y = field(1, "m")
    shade_high_x = field(1, "m")
    shade_high_y = field(1, "m")


class Marker(Record):
    """A ring painted on the ground."""

    x = field(1, "m", "centre, world")
    y = field(1, "m")
    inner_radius = field(1, "m", "negative for a disc")
    outer_radius = field(1, "m")
    color = field(3, "1", "linear colour")
    opacity = field(1, "1", "0 to 1")
