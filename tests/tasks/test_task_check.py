"""Every mistake of an author is one clear line: of check-task, and of optimize where it cannot go on."""

import pytest

from rpg.cli.main import main
from tasks import find_task
from tasks.checking.scene_checks import start_scene
from tests.tasks.small_task import TEXT, write_task

pytestmark = pytest.mark.slow

REWARD = "10.0 * (step.after.x[..., 0].mean(dim=1) - 0.3)"
SUCCESS = "episode.state.x[..., 0].mean(dim=1) > 0.301"
RETURNED = "return self.episode(state.replace(tool_position=state.tool_position + shift))"
DRAWN = "self.uniform(generator, 1, 1, low=-0.005, high=0.0)"
OBSERVATION = "\n    def observation(self, episode):\n        return {}\n"


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(TEXT.splitlines(), 1) if text in line)


@pytest.fixture
def told(tmp_path, capsys):
    """What check-task says of a changed task: its exit code, and its lines, joined with the advice that follows them."""

    def check(old="", new="", more="", options=("--quick",)):
        path = write_task(tmp_path, old, new, more)
        code = main(["check-task", f"{path}:Push", "--num-envs", "2", *options])
        captured = capsys.readouterr()
        assert captured.err == ""
        return code, captured.out.replace("\n" + " " * 22 + "->", " ->").splitlines()

    return check


def one(lines, *parts):
    """That one line holds all parts; it."""
    (found,) = [line for line in lines if all(str(part) in line for part in parts)]
    return found


def test_a_sound_task_passes_every_check(told):
    code, lines = told(options=())
    assert code == 0
    assert not [line for line in lines if line.startswith(("warn", "fail"))]
    for check in (
        "shapes",
        "determinism",
        "labels",
        "actions",
        "gradients",
        "returns",
        "start",
        "rendering",
        "speed",
        "reachable",
    ):
        one(lines, "pass", f"  {check} ")
    one(lines, "0 failed")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (RETURNED, "self.episode(state)", ("randomize() of task Push gave None (is a return missing?)", "def randomize")),
        (RETURNED, "return state", ("randomize() of task Push gave a State", "def randomize")),
        (REWARD, f"({REWARD}).detach()", ("reward() of task Push gave a tensor without a gradient", "def reward")),
        (
            REWARD,
            f"torch.tensor(({REWARD}).tolist())",
            ("reward() of task Push gave a tensor without a gradient", "def reward"),
        ),
        (REWARD, "step.after.x.mean()", ("reward() of task Push gave torch.float32 of shape ()", "shape (2,)", "def reward")),
        (REWARD, "step.after.positions.mean(dim=1)", ("AttributeError: 'State' object has no attribute", "return 10.0")),
        ("def reward(self, step)", "def reward(self, state, action)", ("TypeError: Push.reward() missing 1", "def reward")),
        (REWARD, "0.0 * step.action.sum(dim=1)", ("no action component changes the reward", "def reward", "step.after")),
        (REWARD, f"({REWARD}) / 0.0", ("reward() of task Push is not finite", "def reward")),
        (
            REWARD,
            "(step.after.x - step.after.x).norm(dim=2).mean(dim=1)",
            ("no action component changes the reward", "def reward"),
        ),
        (REWARD, "(step.after.tool_position[:, 0, 1] - 0.3).abs().sqrt()", ("gradient is not finite", "sqrt")),
        (SUCCESS, "(" + SUCCESS + ").float()", ("success() of task Push gave torch.float32", "torch.bool", "def success")),
        (DRAWN, "torch.rand(self.num_envs, 1, 1) * -0.005", ("reset(0) twice gave two different", "def randomize", "uniform")),
        ("(0.3, 0.3, 0.061)", "(0.3, 0.58, 0.061)", ("SoftBody 'block' reaches outside the domain", "return ds.Scene")),
    ],
)
def test_a_mistake_that_stops_training_fails_in_one_line(told, old, new, parts):
    code, lines = told(old, new)
    *words, place = parts
    expected = [f"(push.py, line {line_of(place)})"] if place.startswith(("def", "return")) else [place]
    words = [word for word in words if not word.startswith("def")] + expected
    words += [f"(push.py, line {line_of(word)})" for word in parts[:-1] if word.startswith("def")]
    one(lines, "fail", *words)
    assert code == 1


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (OBSERVATION.format("episode.state.x[:, 0, 0]"), ("observation() of task Push gave torch.float32 of shape (2,)",)),
        (OBSERVATION.format("[1.0]"), ("observation() of task Push gave a list",)),
        (
            "\n    def outcome(self, episode):\n        return torch.ones_like(episode.steps)\n",
            ("outcome() of task Push gave the label 1", "0 to 0"),
        ),
        ("\n    def failure(self, episode):\n        return episode.steps >= 0\n", ("100% of the first states are failures",)),
        (
            "\n    def controls(self, state, action):\n        return action[:, 0]\n",
            ("controls() of task Push gave torch.float32 of shape (2,)",),
        ),
        ("\n    def markers(self, episode, environment):\n        return [1]\n", ("rendering", "GroundMarker")),
    ],
)
def test_a_wrong_method_fails_in_one_line_with_its_place(told, more, parts):
    code, lines = told(more=more)
    place = () if "rendering" in parts else (f"(push.py, line {len(TEXT.splitlines()) + 2})",)
    one(lines, "fail", *parts, *place)
    assert code == 1


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("def success", "def succeeded", ("Push defines no success()", "define success(episode)")),
        ("> 0.301", "> 0.2", ("100% of the first states are successes already", "push.py, line")),
        (
            "def success",
            "action_dim = 2\n\n    def controls(self, state, action):\n        return self.tool_speed * action[:, :1]\n\n"
            "    def success",
            ("action component 1 changes neither the state nor the reward",),
        ),
        (REWARD, f"1e4 * ({REWARD})", ("divide the reward",)),
        (
            "def success",
            "def failure(self, episode):\n        return episode.state.x[..., 0].mean(dim=1) > 0.9\n\n"
            f"    def reward(self, step):\n        return {REWARD} - 1.0\n\n"
            "    def success",
            ("failing early has the better return",),
        ),
        ("particles=60", "particles=8", ("SoftBody 'block' has", "particles in a grid cell", "particles >=")),
        ("ds.Sphere(0.06)", "ds.Box((0.002, 0.1, 0.1))", ("Tool 'ball' is 0.004 m thick, 0.08 grid cells",)),
        ("(0.18, 0.3, 0.06)", "(0.18, 0.3, 0.9)", ("Tool 'ball' at (0.18, 0.3, 0.9) lies outside the domain",)),
    ],
)
def test_what_is_odd_is_a_warning_by_name(told, old, new, parts):
    _, lines = told(old, new)
    one(lines, "warn", *parts)


def test_overlaps_at_the_start_are_named(told):
    wall = 'ds.Obstacle("wall", ds.Box((0.05, 0.05, 0.05)), (0.34, 0.3, 0.06))'
    _, lines = told("tools=(ball,)", f"tools=(ball,), obstacles=({wall},)")
    one(lines, "warn", "SoftBody 'block' reaches", "Obstacle 'wall'")
    apart = f"tools=(ball,), obstacles=({wall.replace('0.34', '0.45')},)"
    _, lines = told("tools=(ball,)", apart)
    assert not [line for line in lines if "wall" in line]
    moved = (
        "\n    def randomize(self, generator):\n        state = self.sim.reset()\n"
        "        return self.episode(state.replace(x=state.x + state.x.new_tensor([0.1, 0.0, 0.0])))\n"
    )
    _, lines = told("tools=(ball,)", apart, moved)
    one(lines, "warn  start", "SoftBody 'block' reaches", "Obstacle 'wall'")


def test_rewards_that_mix_environments_are_found(told):
    _, lines = told(REWARD, f"({REWARD}).mean().expand(self.num_envs)", options=("--seconds", "0"))
    one(lines, "warn", "rewards differ by", "batch of 1", "let no method mix environments")
    _, lines = told(SUCCESS, "episode.state.x[..., 0].mean(dim=1) > 10.0", options=("--seconds", "1"))
    one(lines, "warn", "success was not reached within", "control steps")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (REWARD, f"({REWARD}).detach()", ("reward() of task Push", "without a gradient", "push.py, line")),
        (RETURNED, "self.episode(state)", ("randomize() of task Push", "push.py, line")),
        (
            "def reward(self, step)",
            "def reward(self, state, action)",
            ("Push.reward() missing 1 required", f"push.py, line {line_of('def reward')}"),
        ),
        (REWARD, "step.after.positions", ("AttributeError", "'positions'", "push.py, line")),
        (SUCCESS, "(" + SUCCESS + ").float()", ("success() of task Push", "torch.bool", "push.py, line")),
        ("import torch", "import torch\nimport no_such_neighbour", ("No module named 'no_such_neighbour'", "push.py, line 2")),
    ],
)
def test_optimize_says_it_in_one_line_too(tmp_path, capsys, old, new, parts):
    path = write_task(tmp_path, old, new)
    assert main(["optimize", f"{path}:Push", "--num-envs", "2", "--quiet", "--no-video", "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in ("error: ", *parts):
        assert part in line
    assert not (tmp_path / "run").exists()


def test_an_error_in_the_middle_of_an_episode_is_one_line(tmp_path, capsys):
    late = "(episode.state.x[..., 0].mean(dim=1) > 0.301)[[0, 1 if len(episode.history) < 4 else 99]]"
    path = write_task(tmp_path, SUCCESS, late)
    small = ("--num-envs", "2", "--num-latents", "2", "--iterations", "1", "--quiet", "--no-video")
    assert main(["optimize", f"{path}:Push", *small, "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: IndexError: index 99 is out of bounds")
    assert line.endswith(f"(push.py, line {line_of('> 0.301')})")


def test_a_task_file_imports_its_neighbour_and_needs_no_registration(tmp_path, capsys):
    (tmp_path / "push_neighbour.py").write_text("GAIN = 10.0\n")
    path = write_task(tmp_path, "import torch\n", "import torch\nfrom push_neighbour import GAIN\n")
    assert main(["check-task", str(path), "--quick", "--num-envs", "2"]) == 0  # the one task of the file
    assert "0 failed" in capsys.readouterr().out
    assert main(["check-task", f"{path}:Posh"]) == 2
    assert f"did you mean '{path}:Push'?" in capsys.readouterr().err


def test_articulations_are_checked_where_episodes_begin():
    task = find_task("TwoBlockPush")(2)
    state = task.reset(0).state
    scene = start_scene(task.sim, state, 1)
    begun = [link.joint.initial[0] for each in scene.articulations for link in each.links]
    assert begun == pytest.approx(state.q[1].tolist(), abs=1e-6)
    assert begun != pytest.approx(state.q[0].tolist(), abs=1e-3)
