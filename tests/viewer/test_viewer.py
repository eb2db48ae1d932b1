"""The viewer: what is shown at a time, the page as a file, and what a browser makes of it."""

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import diffsim as ds
from diffsim.viewer import Arrows, LiveViewer, Resimulation, Track, write_page
from diffsim.viewer.arrows import common_scale, gradient_arrows
from diffsim.viewer.page_export import picture_times, slowdown_of
from diffsim.viewer.return_chart import ReturnChart
from diffsim.viewer.tracks import NumberParameter
from tests.viewer.chromium import Browser, chromium, within
from tests.viewer.small_scene import STEPS, moved_states, small_simulator

pytest.importorskip("viser")
REWARDS = np.arange(STEPS) - 2.0


@pytest.fixture(scope="module")
def sim():
    return small_simulator()


@pytest.fixture(scope="module")
def states(sim):
    return moved_states(sim)


def track(sim, states, **changes):
    rows = [state[1] for state in states]
    return Track(**{"scene": sim.scene, "states": rows, "control_dt": sim.control_dt, "rewards": REWARDS, **changes})


# What is shown at a time ----------------------------------------------------------------------------------------


def test_states_between_two_steps_are_on_the_way(sim, states):
    shown = track(sim, states)
    assert shown.duration == pytest.approx(STEPS * sim.control_dt)
    middle = shown.state_at(2.5 * sim.control_dt)
    torch.testing.assert_close(middle.x, 0.5 * (states[2][1].x + states[3][1].x))
    assert torch.equal(shown.state_at(3 * sim.control_dt).x, states[3][1].x)
    assert torch.equal(shown.state_at(99.0).x, states[-1][1].x)


def test_forces_are_asked_for_once_however_often_a_page_is_written(sim, states, tmp_path):
    asked = []

    def forces():
        asked.append(1)
        return [Arrows(np.zeros((1, 3)), np.ones((1, 3)))] * (STEPS + 1)

    shown = track(sim, states, forces=forces)
    for name in ("a.html", "b.html"):
        write_page([shown], tmp_path / name)
    assert len(asked) == 1


def test_the_chart_adds_rewards_up(sim, states):
    chart = ReturnChart([track(sim, states, title="a<b")])
    assert chart.so_far(0, 0.0) == 0.0
    assert chart.so_far(0, 3.2 * sim.control_dt) == pytest.approx(REWARDS[:3].sum())
    assert chart.so_far(0, 99.0) == pytest.approx(REWARDS.sum())
    html = chart.html(3.2 * sim.control_dt)
    assert "a&lt;b" in html
    assert f"{REWARDS[:3].sum():.2f}" in html
    assert chart.marker(chart.duration) > chart.marker(0.5 * chart.duration) > chart.marker(0.0)
    assert not ReturnChart([track(sim, states, rewards=None)])


def test_arrows_are_as_long_as_forces_are_strong():
    vectors = np.array([[0.0, 0.0, 2.0], [1.0, 0.0, 0.0], [0.0, 1e-3, 0.0], [np.nan, 0.0, 0.0], [0.0, 9.0, 0.0]])
    drawn = Arrows(np.ones((5, 3)), vectors).drawn(scale=2.0, longest=0.1)
    assert len(drawn) == 3  # neither the weak nor the unknown one
    np.testing.assert_allclose(drawn[:, 0], 1.0)
    lengths = np.linalg.norm(drawn[:, 1] - drawn[:, 0], axis=1)
    np.testing.assert_allclose(lengths, [0.1, 0.1, 0.05])  # what is stronger than the scale is no longer
    np.testing.assert_allclose(drawn[0, 1], [1.0, 1.1, 1.0])
    assert common_scale([Arrows(np.zeros((0, 3)), np.zeros((0, 3)))]) == 0.0
    assert common_scale([Arrows(np.zeros((1, 3)), vectors[:1]), Arrows(np.zeros((1, 3)), vectors[1:2])]) == pytest.approx(
        2.0, rel=0.05
    )


def test_gradients_are_arrows_on_particles_tools_and_free_bodies(sim, states):
    state = states[0][1]
    zero = state.map(torch.zeros_like)
    pull = zero.x.clone()
    pull[..., 0] = 3.0
    gradient = zero.replace(x=pull, tool_position=zero.tool_position - 5.0, q=zero.q + 7.0)
    arrows = gradient_arrows(sim, state, gradient)
    assert len(arrows.starts) == sim.num_particles + 2
    np.testing.assert_allclose(arrows.starts[-2], state.tool_position[0, 0].numpy())
    np.testing.assert_allclose(arrows.starts[-1], [0.45, 0.45, 0.05], atol=1e-6)
    np.testing.assert_allclose(arrows.vectors[0], [1.0, 0.0, 0.0], atol=1e-6)  # each kind by the largest of its own
    np.testing.assert_allclose(arrows.vectors[-2], np.full(3, -(3.0**-0.5)), atol=1e-6)


def test_pictures_are_at_all_states_and_between_them_or_at_some(sim, states):
    shown = [track(sim, states)]
    step = sim.control_dt
    np.testing.assert_allclose(list(picture_times(shown, 2.0 / step)), 0.5 * step * np.arange(2 * STEPS + 1), atol=1e-9)
    np.testing.assert_allclose(list(picture_times(shown, 1.0 / step)), step * np.arange(STEPS + 1), atol=1e-9)
    np.testing.assert_allclose(list(picture_times(shown, 0.3 / step)), step * np.array([0, 4, 8, STEPS]), atol=1e-9)
    assert list(picture_times([track(sim, states[:1], rewards=None)], 20.0)) == [0.0]


# The page as a file ---------------------------------------------------------------------------------------------


def page_info(text: str) -> dict:
    """What the page's own script knows."""
    return json.loads(re.search(r"var info = (\{.*?\}), panel", text)[1])


def test_a_page_is_one_file_that_needs_no_other(sim, states, tmp_path):
    target = tmp_path / "page.html"
    assert ds.view(sim, states, environment=1, rewards=REWARDS, html=target) is None
    text = target.read_text()
    assert 500_000 < len(text) < 10_000_000
    assert not re.search(r"""<(script|link|img)[^>]+(src|href)=["']?(https?:)?//""", text)
    assert "__VISER_EMBED_DATA__" in text
    info = page_info(text)
    np.testing.assert_allclose(info["sums"][0], [0.0, *np.cumsum(REWARDS)])
    assert info["slowdown"] == slowdown_of(1.0) == 4.0
    assert f"{REWARDS.sum():.2f}" in text


def test_a_page_that_would_be_too_large_holds_less_or_is_refused(sim, states, tmp_path):
    shown = [track(sim, states)]
    said: list[str] = []
    write_page(shown, tmp_path / "whole.html", say=said.append)
    whole = (tmp_path / "whole.html").stat().st_size
    assert said == []
    write_page(shown, tmp_path / "less.html", largest=whole - 1000, say=said.append)
    assert (tmp_path / "less.html").stat().st_size < whole
    assert re.fullmatch(r"note: to stay below .* MB the page has \d+ pictures a second in place of 20, .*", said[0])
    with pytest.raises(ds.InputError, match=r"the page would have .* MB .*, allowed are 0.1 MB: show fewer solutions"):
        write_page(shown, tmp_path / "none.html", largest=100_000)
    assert not (tmp_path / "none.html").exists()


def test_wrong_arguments_are_named(sim, states):
    for changes, words in (
        ({"states": []}, "states must be a list of diffsim.State, at least one"),
        ({"environment": 7}, r"environment index must lie in \[0, 2\), got 7"),
        ({"rewards": [1.0]}, rf"rewards must have shape \({STEPS},\)"),
        ({"forces": True, "actions": torch.zeros(3, 2, 1)}, rf"actions must have shape \({STEPS}, B, 1\)"),
        ({"port": 70_000}, "port must be a whole number from 0 to 65535"),
        ({"host": "203.0.113.1", "port": 0}, "cannot listen at 203.0.113.1"),
    ):
        with pytest.raises(ds.InputError, match=words):
            ds.view(sim, **{"states": states, **changes})


def test_without_viser_one_line_says_what_to_install(sim, states, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ds.InputError, match=r"needs the package viser.*pip install 'diffsim-rpg\[viewer\]'"):
        ds.view(sim, states)


# A page that is served ------------------------------------------------------------------------------------------


def test_the_page_listens_on_this_machine_only_and_simulates_again(sim, states):
    given = []

    def again(values):
        given.append(dict(values))
        if values["speed"] > 1.5:
            raise ds.InputError("too fast")
        return [track(sim, states, rewards=2.0 * REWARDS)]

    speed = NumberParameter("speed", 1.0, 0.0, 2.0, 0.1)
    viewer = LiveViewer([track(sim, states)], port=0, resimulation=Resimulation([speed], again))
    try:
        assert viewer.url.startswith("http://127.0.0.1:")
        viewer.time = 3.0 * sim.control_dt
        viewer.tick()
        assert viewer.time == pytest.approx(3.0 * sim.control_dt)
        assert f"{REWARDS[:3].sum():.2f}" in viewer._returns.content
        for value, words in ((0.5, f"{2.0 * REWARDS[:3].sum():.2f}"), (2.0, f"{2.0 * REWARDS[:3].sum():.2f}")):
            viewer._sliders["speed"].value = value
            viewer._changed_at = -1.0
            viewer.tick()
            assert given[-1] == {"speed": value}
            assert words in viewer._returns.content  # what failed changes nothing
        assert viewer._status.content == "**failed:** too fast"
    finally:
        viewer.stop()


def colored(picture: np.ndarray, kind: str) -> np.ndarray:
    """Where (rows, columns) the block's yellow or the ball's blue is."""
    r, g, b = (picture[..., i].astype(int) for i in range(3))
    yellow = (r > 120) & (r - b > 80) & (g - b > 40)
    blue = (b > 90) & (b - r > 50)
    return np.argwhere(yellow if kind == "yellow" else blue)


def shows_scene(browser: Browser) -> bool:
    """Whether the scene is there, and nothing before it: the note that there is no graphics card goes."""
    browser.value("document.querySelectorAll('.mantine-Notification-root').forEach(each => each.remove())")
    picture = browser.picture()
    return len(colored(picture, "yellow")) > 100 and len(colored(picture, "blue")) > 50


def place(browser: Browser) -> float:
    """Column of the middle of the yellow block."""
    return float(colored(browser.picture(), "yellow")[:, 1].mean())


def shown_return(browser: Browser) -> str:
    """The return so far, as the page has it."""
    return str(browser.value("document.querySelector('[data-sum]').textContent"))


def set_slider(browser: Browser, share: float) -> None:
    """Click on the time's slider, so far along it; again if the page, which stops playing one stalled frame later, left it."""
    thumb = "document.querySelector('[role=slider]')"
    root = f"{thumb}.closest('.mantine-Slider-root').getBoundingClientRect()"
    numbers = f"[{root}.left, {root}.width, {root}.top + 0.5 * {root}.height]"
    values = f"[{thumb}.getAttribute('aria-valuenow'), {thumb}.getAttribute('aria-valuemax')].map(Number)"

    def is_there() -> bool:
        left, width, y = browser.value(numbers)
        browser.click(left + share * width, y)
        stayed = True
        for _ in range(2):
            browser.picture()
            time.sleep(0.5)
            now, high = browser.value(values)
            stayed = stayed and abs(now / high - share) < 0.05
        return stayed

    within(90.0, is_there)


@pytest.mark.slow
def test_a_browser_shows_the_scene_and_its_time(sim, states, tmp_path: Path):
    chromium()
    page = tmp_path / "page.html"
    write_page([track(sim, states, title="right")], page)
    viewer = ds.view(sim, states, environment=1, rewards=REWARDS, port=0)
    browser = Browser(tmp_path / "browser")
    try:
        browser.open(page.as_uri())
        set_slider(browser, 0.1)  # which also ends the play
        within(90.0, lambda: shows_scene(browser) and place(browser) < 440.0)  # it is at 500 at the end
        before, sum_before = place(browser), shown_return(browser)
        set_slider(browser, 0.85)
        within(60.0, lambda: place(browser) > before + 50.0)  # to the right by a good part of the picture
        assert float(shown_return(browser)) > float(sum_before)

        browser.open(viewer.url)
        within(90.0, lambda: shows_scene(browser))
        before = place(browser)
        viewer.time = STEPS * sim.control_dt
        within(60.0, lambda: place(browser) > before + 25.0)
        assert float(shown_return(browser)) == pytest.approx(REWARDS.sum())
        set_slider(browser, 0.02)  # the very end of the slider is not hit
        within(60.0, lambda: abs(place(browser) - before) < 5.0)
        assert viewer.time < 2.0 * sim.control_dt
    finally:
        browser.close()
        viewer.stop()
