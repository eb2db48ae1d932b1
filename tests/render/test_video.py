"""Files written and read back."""

import imageio.v3 as iio
import numpy as np
import pytest

from diffsim import InputError
from diffsim.render import caption, side_by_side, write_gif, write_png, write_video


def moving_square(count: int, height: int = 97, width: int = 130):
    for i in range(count):
        frame = np.full((height, width, 3), (40, 60, 200), dtype=np.uint8)
        frame[30:60, 5 * i : 5 * i + 30] = (230, 180, 30)
        yield frame


def test_mp4_round_trip(tmp_path):
    path = tmp_path / "square.mp4"
    write_video(path, moving_square(12), fps=24)
    assert [item.name for item in tmp_path.iterdir()] == ["square.mp4"]
    frames = iio.imread(path, plugin="pyav")
    assert frames.shape == (12, 96, 130, 3)
    for got, put in zip(frames, moving_square(12), strict=True):
        assert np.abs(got.astype(int) - put[:96]).mean() < 8.0
    meta = iio.immeta(path, plugin="pyav")
    assert meta["codec"] == "h264"
    assert meta["video_format"].startswith("yuv420p")
    assert meta["fps"] == pytest.approx(24)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # a browser can begin to play before it has everything


def test_webm_and_gif_by_their_names(tmp_path):
    write_video(tmp_path / "square.webm", moving_square(12), fps=24)
    frames = iio.imread(tmp_path / "square.webm", plugin="pyav")
    assert frames.shape == (12, 96, 130, 3)
    assert np.abs(frames[5].astype(int) - list(moving_square(12))[5][:96]).mean() < 10.0
    assert iio.immeta(tmp_path / "square.webm", plugin="pyav")["codec"] == "vp9"
    write_video(tmp_path / "square.gif", moving_square(4), fps=10)
    assert iio.imread(tmp_path / "square.gif").shape[:3] == (4, 97, 130)
    with pytest.raises(InputError, match=r"\.mp4, \.webm or \.gif"):
        write_video(tmp_path / "square.avi", moving_square(2))


def test_gif_and_png_round_trip(tmp_path):
    write_gif(tmp_path / "square.gif", list(moving_square(5)), fps=10)
    assert iio.imread(tmp_path / "square.gif").shape[:3] == (5, 97, 130)
    frame = next(moving_square(1))
    write_png(tmp_path / "square.png", frame)
    assert np.array_equal(iio.imread(tmp_path / "square.png"), frame)


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "missing", tmp_path / "file"):
        path = folder / "a.mp4"
        with pytest.raises(InputError) as caught:
            write_video(path, moving_square(2))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_failure_midway_leaves_nothing(tmp_path):
    def failing():
        yield from moving_square(2)
        raise RuntimeError("the simulation blew up")

    with pytest.raises(RuntimeError, match="blew up"):
        write_video(tmp_path / "a.mp4", failing())
    with pytest.raises(InputError, match="all frames must be"):
        write_video(tmp_path / "a.mp4", [*moving_square(2), np.zeros((10, 10, 3), np.uint8)])
    with pytest.raises(InputError, match="has no frames"):
        write_video(tmp_path / "a.mp4", [])
    with pytest.raises(InputError, match=r"must end in \.mp4"):
        write_video(tmp_path / "a.avi", moving_square(2))
    assert list(tmp_path.iterdir()) == []


def test_caption_and_side_by_side():
    frame = np.full((200, 300, 3), 90, dtype=np.uint8)
    lower, upper = caption(frame, "Detour", "return 12.4"), caption(frame, "Detour", "return 12.4", top=True)
    assert lower.shape == frame.shape
    assert (lower[:60] == 90).all()
    assert lower[150:].min() < 60 < 215 < lower[150:].max()
    assert (upper[140:] == 90).all()
    pair = side_by_side([lower, upper], separator=4)
    assert pair.shape == (200, 604, 3)
    assert (pair[:, 300:304] == 255).all()
    with pytest.raises(InputError, match="one height"):
        side_by_side([frame, frame[:100]])
