"""Frames to files: MP4, WebM, GIF, PNG; captions and comparisons. A frame is sRGB uint8 (H, W, 3)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffsim.errors import InputError
from diffsim.scene.validation import check_count, file_path, is_number

# by suffix: the encoder, and the container's options: an MP4's index stands first, so that a browser plays it while it loads
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    ".mp4": ("libx264", {"movflags": "faststart"}),
    ".webm": ("libvpx-vp9", {}),
}
INK, FADED, PAPER = (32, 36, 44), (104, 112, 124), (255, 255, 255)


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float = 30.0) -> None:
    """Write a video that browsers play, of the kind that the name says: MP4 (H.264, yuv420p; QuickTime plays it too), WebM
    (VP9) or GIF. Odd sizes lose a last row or column, but in a GIF.

    The file appears under its name only when it is whole.

    Raises:
        InputError: ``path`` cannot be written, does not end in .mp4, .webm or .gif, or there are no frames.
    """
    target = file_path("path", path)
    kind = target.suffix.lower()
    if kind not in (*ENCODERS, ".gif"):
        raise InputError(f"path of a video must end in {', '.join(ENCODERS)} or .gif, got '{path}'")
    _check_rate(fps)
    if not isinstance(frames, Iterable):
        raise InputError(f"frames must be pictures in a row, got {frames!r}")
    stream = iter(frames)
    try:
        first = next(stream)
    except StopIteration:
        raise InputError(f"video '{path}' has no frames: frames was empty, got []") from None
    if kind == ".gif":
        write_gif(path, [first, *stream], fps)
        return
    height, width = (size - size % 2 for size in _checked(first).shape[:2])
    encoder, options = ENCODERS[kind]

    def write(temporary: Path) -> None:
        opened: Any = iio.imopen  # its annotations lack the plugin's options
        with opened(temporary, "w", plugin="pyav", options=options) as output:
            output.init_video_stream(encoder, fps=fps, pixel_format="yuv420p")
            for frame in chain([first], stream):
                if _checked(frame).shape != first.shape:
                    raise InputError(f"video '{path}': all frames must be {first.shape}, got {frame.shape}")
                output.write_frame(np.ascontiguousarray(frame[:height, :width]))

    _write_whole(target, write)


def write_png(path: str | Path, frame: np.ndarray) -> None:
    """Write one frame as PNG. Raises InputError where ``path`` cannot be written."""
    _write_whole(file_path("path", path), lambda temporary: Image.fromarray(_checked(frame)).save(temporary, format="PNG"))


def write_gif(path: str | Path, frames: Sequence[np.ndarray], fps: float = 15.0) -> None:
    """Write a looping GIF with one palette. Raises InputError where ``path`` cannot be written."""
    target = file_path("path", path)
    _check_frames(frames)
    _check_rate(fps)
    sample = Image.fromarray(np.concatenate([_checked(frame) for frame in frames[:: max(1, len(frames) // 4)]]))
    palette = sample.quantize(255)
    images = [Image.fromarray(_checked(frame)).quantize(palette=palette) for frame in frames]

    def write(temporary: Path) -> None:
        duration = max(20, round(1000.0 / fps))
        images[0].save(temporary, format="GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)

    _write_whole(target, write)


def caption(frame: np.ndarray, text: str, subtext: str = "", *, top: bool = False) -> np.ndarray:
    """The frame with a line of text and a smaller one below it on a light plate in its lower (upper) left."""
    for name, line in (("text", text), ("subtext", subtext)):
        if not isinstance(line, str):
            raise InputError(f"caption: {name} must be text, got {line!r}")
    height, width = _checked(frame).shape[:2]
    size = max(11, round(height / 19))
    lines = [(text, size, INK, True)] + ([(subtext, max(9, round(0.74 * size)), FADED, False)] if subtext else [])
    pad, gap = round(0.55 * size), round(0.32 * size)
    boxes = [_font(points, bold).getbbox(line) for line, points, _, bold in lines]
    rises = [_font(points, bold).getmetrics()[0] for _, points, _, bold in lines]
    plate_width = min(round(max(box[2] for box in boxes)) + 2 * pad, width - 2 * pad)
    plate_height = sum(rises) + gap * (len(lines) - 1) + 2 * pad
    start = pad if top else height - pad - plate_height
    picture = Image.fromarray(frame).convert("RGBA")
    over = Image.new("RGBA", picture.size, (*PAPER, 0))
    draw = ImageDraw.Draw(over)
    draw.rounded_rectangle((pad, start, pad + plate_width, start + plate_height), radius=round(0.4 * size), fill=(*PAPER, 205))
    y = start + pad
    for (line, points, ink, bold), rise in zip(lines, rises, strict=True):
        draw.text((2 * pad, y + rise), line, font=_font(points, bold), fill=(*ink, 255), anchor="ls")
        y += rise + gap
    return np.asarray(Image.alpha_composite(picture, over).convert("RGB"))


def side_by_side(frames: Sequence[np.ndarray], separator: int = 4) -> np.ndarray:
    """Frames of one height in a row, with thin white separators."""
    _check_frames(frames)
    check_count("separator", separator, 0)
    heights = {_checked(frame).shape[0] for frame in frames}
    if len(heights) > 1:
        raise InputError(f"frames must all have one height, got {sorted(heights)}")
    bar = np.full((heights.pop(), separator, 3), 255, dtype=np.uint8)
    parts = [part for frame in frames for part in (bar, frame)][1:]
    return np.concatenate(parts, axis=1)


@lru_cache(maxsize=64)
def _font(size: int, bold: bool) -> Any:
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), size)


def _check_rate(fps: float) -> None:
    if not is_number(fps) or not 1e-3 <= fps <= 1e4:
        raise InputError(f"fps must be a positive number of frames a second, got {fps!r}")


def _check_frames(frames: Sequence[np.ndarray]) -> None:
    if not isinstance(frames, Sequence) or not len(frames):
        raise InputError(f"frames must hold at least one picture, got {frames!r}")


def _checked(frame: np.ndarray) -> np.ndarray:
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise InputError(
            f"a frame must be a uint8 array (H, W, 3), got {frame.dtype} {frame.shape}"
            if isinstance(frame, np.ndarray)
            else f"a frame must be a uint8 array (H, W, 3), got {frame!r}"
        )
    return frame


def _write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Call ``write`` with a temporary name beside ``target``, then rename."""
    temporary = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        temporary.touch()
    except OSError as error:
        raise InputError(f"path: cannot write '{target}': {error.strerror}") from error
    try:
        write(temporary)
        temporary.replace(target)
    except OSError as error:
        raise InputError(f"path: cannot write '{target}': {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
