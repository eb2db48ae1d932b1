"""A run opened again, in Python and by the sub-commands that look at one."""

import json
import shutil
from typing import Any

import numpy as np
import pytest
import torch

import rpg
from rpg import RPGConfig, SettingError, Trainer
from rpg.environments.wall import PointMassWall
from tests.cli.command_line import SHOWN, SMALL, WALL, assert_refused, json_line, optimize, result_of, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a file of its own, with a parameter that is not the default."""
    folder = tmp_path_factory.mktemp("runs")
    file = folder / "walls.py"
    shutil.copy(SHOWN.rpartition(":")[0], file)
    options = ("--iterations", 4, "--task.horizon", 6, "--seed", 2, "--quiet", "--out", folder / "run")
    assert optimize(f"{file}:ShownWall", *SMALL, *options) == 0
    return folder / "run"


def test_result_json_says_what_the_run_was_of(trained):
    result = result_of(trained)
    file = trained.parent / "walls.py"
    assert result["task_reference"] == f"{file}:ShownWall"
    assert result["task_file"]["path"] == str(file)
    assert len(result["task_file"]["sha256"]) == 64
    assert result["task_parameters"] == {"horizon": 6, "half_width": 0.5, "mesh": None}
    assert result["status"] == "done"
    opened = rpg.open_run(trained)
    assert opened.result == result
    assert opened.config == RPGConfig(seed=2, iterations=4, num_latents=2)
    assert [row.iteration for row in opened.metrics] == [0, 1, 2, 3]
    assert [mode.name for mode in opened.modes] == [mode["name"] for mode in result["modes"]]
    assert opened.modes[0].actions.shape == (6, 2)


def test_a_replay_gives_the_stored_episode(trained):
    opened = rpg.open_run(str(trained))
    for number, mode in enumerate(opened.modes):
        replay = opened.replay(number)
        assert replay.episode_return == pytest.approx(mode.shown_return, rel=1e-6)
        assert replay.agrees
        assert replay.rewards.shape == (6,)
        assert len(replay.states) == 7
        assert np.allclose(replay.observations.numpy(), mode.observations)
        env: Any = opened.environment()
        assert torch.equal(replay.observations[-1], env.observe(replay.states[-1])[mode.environment])
        assert opened.replay(mode.name).episode_return == opened.replay(mode).episode_return
    easier = opened.replay(0, environment=PointMassWall(num_envs=4, horizon=6, half_width=0.11, duration=9.0))
    assert not easier.agrees
    with pytest.raises(SettingError, match=r"mode was given 'up'; the run in .* has 0 \("):
        opened.replay("up")
    with pytest.raises(SettingError, match="num_envs"):
        opened.replay(0, environment=PointMassWall(num_envs=opened.modes[0].environment or 0, horizon=6))


def test_an_evaluation_is_that_of_the_run_or_of_another_task(trained):
    opened = rpg.open_run(trained)
    found = opened.evaluate()
    assert (found.episodes, found.episode_return) == (4, opened.result["return"])
    assert found.success == opened.result["policy_success"]
    assert found.expected_success == opened.result["expected_success"]
    assert opened.evaluate(n=9).episodes == 9
    assert opened.evaluate(seed=5).episode_return != found.episode_return
    wider = PointMassWall(num_envs=5, horizon=6, half_width=0.9)
    assert opened.evaluate(wider).episodes == 5
    assert opened.evaluate(f"{WALL}").episodes == 4  # an episode may be shorter than the policy's
    with pytest.raises(SettingError, match="n was given 7; the environment has num_envs 5"):
        opened.evaluate(wider, 7)
    with pytest.raises(SettingError, match="horizon 40; the policy was trained with 6"):
        opened.evaluate(PointMassWall(num_envs=2))
    with pytest.raises(ValueError, match="n was given 0"):
        opened.evaluate(n=0)


def test_the_policy_acts_without_the_environment(trained):
    opened = rpg.open_run(trained)
    first = torch.zeros(3, 4)
    assert torch.equal(opened.policy().act(first, 0, 0), rpg.load_policy(trained).act(first, 0, 0))
    assert rpg.open_run(trained, "best").iteration <= 4


def test_a_run_is_rendered_from_another_camera(trained, tmp_path):
    opened = rpg.open_run(trained)
    assert opened.render() == trained / "modes.mp4"
    path = opened.render(tmp_path / "one.mp4", modes=[0], camera="any", size=(64, 48))
    assert path.read_text() == f"{[opened.modes[0].name]} any (64, 48)"
    with pytest.raises(SettingError, match="has no method write_video"):
        opened.render(environment=PointMassWall(num_envs=4, horizon=6))


def test_a_file_that_changed_is_named_and_one_that_is_gone_too(trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    file = trained.parent / "walls.py"
    text = file.read_text()
    try:
        file.write_text(text + "\n# another line\n")
        with pytest.warns(RuntimeWarning, match=r"walls.py has changed since the run"):
            assert rpg.open_run(copy).replay(0).agrees
        file.unlink()
        with pytest.warns(RuntimeWarning), pytest.raises(SettingError, match=r"walls.py' does not exist"):
            rpg.open_run(copy).environment()
    finally:
        file.write_text(text)


def test_a_run_that_a_program_trained_is_opened_with_its_environment(tmp_path):
    env = PointMassWall(num_envs=4, horizon=3)
    result = Trainer(env, RPGConfig(iterations=2, num_latents=2), run_dir=tmp_path / "run").train()
    opened = rpg.open_run(tmp_path / "run")
    assert opened.result == {}
    with pytest.raises(SettingError, match="does not say where its task is"):
        opened.evaluate()
    found = opened.evaluate(env)
    assert found.episode_return == max(result.evaluations, key=lambda each: each.probability).episode_return
    assert opened.replay(found.modes[0], environment=env).agrees
    with pytest.raises(SettingError, match="holds no run"):
        rpg.open_run(tmp_path)


def test_evaluate_on_the_command_line(trained, capsys):
    assert run("evaluate", trained, "--json") == 0
    printed = json_line(capsys)
    assert printed["return"] == result_of(trained)["return"]
    assert printed["episodes"] == 4
    assert run("evaluate", trained, "--episodes", 6, "--task.half-width", 0.2, "--json", "--quiet") == 0
    other = json_line(capsys)
    assert other["episodes"] == 6
    assert other["return"] != printed["return"]
    assert run("evaluate", trained, "--task", WALL, "--best", "--quiet") == 0
    assert_refused(capsys, run("evaluate", trained, "--episodes", 0, "--quiet"), "--episodes", "0")
    assert_refused(capsys, run("evaluate", trained, "--task", "Detur", "--quiet"), "unknown task 'Detur'")
    with pytest.raises(SystemExit) as done:
        run("evaluate", trained, "--help")
    assert done.value.code == 0
    assert "--task.half-width" in capsys.readouterr().out


def test_render_on_the_command_line(trained, tmp_path, capsys):
    target = tmp_path / "seen.mp4"
    camera = ("--camera", 1, 2, 3, 0, 0, 0.5, 40, "--video-size", 320, 240)
    assert run("render", trained, "--out", target, "--modes", 0, *camera) == 0
    name = rpg.open_run(trained).modes[0].name
    assert target.read_text() == f"{[name]} ((1.0, 2.0, 3.0), (0.0, 0.0, 0.5), 40.0) (320, 240)"
    printed = capsys.readouterr().out
    for words in (
        "loading torch",
        "building the environment",
        f"'{name}' replays to the stored return",
        "rendering 1 solution to",
    ):
        assert words in printed
    assert_refused(capsys, run("render", trained, "--modes", 9, "--quiet"), "--modes", "9")
    # a run that was killed has no solutions yet
    killed = tmp_path / "killed"
    shutil.copytree(trained, killed)
    result = result_of(killed)
    del result["modes"]
    (killed / "result.json").write_text(json.dumps(result))
    assert run("render", killed) == 0
    assert "evaluating every latent" in capsys.readouterr().out
    assert result_of(killed)["modes"] == result_of(trained)["modes"]
    assert result_of(killed)["task_reference"] == result_of(trained)["task_reference"]


def test_view_on_the_command_line(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    names = [mode.name for mode in rpg.open_run(trained).modes]
    target = tmp_path / "page.html"
    assert run("view", trained, "--html", target, "--modes", 0, "--no-arrows", "--json") == 0
    assert target.read_text() == f"{names[:1]} False"
    printed = capsys.readouterr().out
    assert "smaller than asked for" in printed
    assert json.loads(printed.splitlines()[-1]) == {
        "run": str(trained),
        "html": str(target),
        "bytes": target.stat().st_size,
    }
    assert run("view", trained, "--port", 8123) == 0  # Ctrl-C is how it ends
    assert f"http://127.0.0.1:8123/{len(names)} (Ctrl-C ends it)" in capsys.readouterr().out
    assert_refused(capsys, run("view", trained, "--port", 70_000, "--quiet"), "--port", "70000")
    assert_refused(capsys, run("view", trained, "--html", tmp_path / "no" / "page.html", "--quiet"), "there is no folder")
    monkeypatch.setenv("SHOWN_WALL", "viewer")
    assert_refused(capsys, run("view", trained, "--quiet"), "needs a package")


def test_an_environment_without_a_viewer_says_so():
    from rpg.runs.viewers import serve_viewer

    with pytest.raises(SettingError, match="has no methods serve_viewer and write_viewer_page"):
        serve_viewer(PointMassWall(num_envs=2), [], host="127.0.0.1", port=0, ready=print)
