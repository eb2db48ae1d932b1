"""The author's contract, and the tasks that come with it."""

import inspect

import pytest
import torch
import trimesh

import diffsim as ds
from rpg.protocol import ProtocolError, check_environment
from tasks import Detour, Task, find_task, register, task_names
from tasks.registry import DOCSTRING_HEADINGS
from tests.tasks.every_task import every_task

pytestmark = pytest.mark.slow


class Slide(Task):
    """A block slides.

    Task: be far along x.
    Randomisation: the first velocity.
    Success: the block moved by more than 1 mm.
    """

    horizon, dt, substeps = 3, 2e-3, 5
    outcome_names = ("there",)

    def scene(self):
        block = ds.SoftBody("block", ds.Box((0.06, 0.06, 0.06)), (0.3, 0.3, 0.061), particles=30)
        ball = ds.Tool("ball", ds.Sphere(0.05), (0.2, 0.3, 0.06), control=("x",))
        return ds.Scene((block,), tools=(ball,), upper=(0.6, 0.6, 0.4), grid_spacing=0.05)

    def randomize(self, generator):
        state = self.sim.reset()
        return self.episode(state.replace(v=state.v + self.uniform(generator, 1, 1, low=0.0, high=1.0)))

    def reward(self, step):
        return step.after.x[..., 0].mean(dim=1)

    def success(self, episode):
        return episode.state.x[..., 0].mean(dim=1) > 0.301


def test_episodes_follow_the_seed():
    task = Slide(4)
    first, again, other = task.reset(3), task.reset(3), task.reset(4)
    assert torch.equal(first.state.v, again.state.v)
    assert not torch.equal(first.state.v, other.state.v)
    assert not torch.equal(task.reset().state.v, task.reset().state.v)


@pytest.mark.parametrize("make", [Slide, *every_task(lambda task: find_task(task.name))])
def test_an_episode_begins_the_same_in_any_batch(make):
    alone, batch = make(1).reset(3).state[0], make(33).reset(3).state
    for name, tensor in alone.tensors().items():
        assert torch.equal(tensor, batch[0].tensors()[name]), name


def test_a_task_without_steps_is_refused():
    task = type("Still", (Slide,), {"horizon": 0})(1)
    with pytest.raises(ProtocolError, match=r"environment\.horizon is 0; expected a positive int"):
        check_environment(task)


def test_success_that_is_no_truth_value_is_refused_in_the_first_step():
    task = type("Hazy", (Slide,), {"success": lambda self, episode: torch.ones(episode.num_envs)})(2)
    with pytest.raises(
        ds.InputError, match=r"success\(\) of task Hazy gave torch.float32 .*; allowed is torch.bool of shape \(2,\)"
    ):
        check_environment(task)


def test_a_task_speaks_the_optimisers_protocol():
    task = Slide(4)
    check_environment(task)
    episode = task.reset(0)
    action = torch.full((4, 1), 0.5, requires_grad=True)
    for _ in range(task.horizon):
        episode, reward, info = task.step(episode, action)
    assert reward.shape == (4,)
    assert info["success"].dtype == torch.bool
    assert info["outcome"].tolist() == [0] * 4
    assert info["truncated"].tolist() == [True] * 4
    assert info["running"].tolist() == [True] * 4
    assert not info["terminated"].any()
    assert len(episode.observations) == task.horizon + 1
    assert episode.observations[0].shape == (4, task.observation_dim)
    reward.sum().backward()
    assert float(action.grad.abs().min()) > 0.0


def test_what_an_author_forgets_is_named():
    class Empty(Task):
        pass

    with pytest.raises(ds.InputError, match=r"Empty must define scene\(\)"):
        Empty()
    with pytest.raises(ds.InputError, match=r"takes no mesh, got 'x\.obj'"):
        Slide(1, mesh="x.obj")


def test_the_device_is_the_simulators():
    assert Slide(1, device="cpu").sim.device == "cpu"
    with pytest.raises(ds.InputError, match="device must be 'cpu' or 'cuda', got 'gpu'"):
        Slide(1, device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ds.InputError, match=r"device must be 'cpu'|device 'cuda' is not available"):
            Slide(1, device="cuda")


def test_registry():
    with pytest.raises(ds.InputError, match=r"unknown task 'Detuor'.*did you mean 'Detour'"):
        find_task("Detuor")
    with pytest.raises(ds.InputError, match="missing: Task:, Randomisation:, Success:"):
        register("Silent")(type("Silent", (Task,), {"__doc__": "Nothing."}))
    with pytest.raises(ds.InputError, match="'Detour' is taken"):
        register("Detour")(Slide)
    impostor = type("Detour", (Task,), {"__doc__": Detour.__doc__, "__module__": "somewhere_else"})
    with pytest.raises(ds.InputError, match="'Detour' is taken"):
        register("Detour")(impostor)
    with pytest.raises(ds.InputError, match="subclass"):
        register("Thing")(int)  # type: ignore[type-var]
    assert find_task("Detour") is Detour
    assert Detour.name == "Detour"


@pytest.mark.parametrize("name", task_names())
def test_registered_tasks_say_what_they_are(name):
    for heading in DOCSTRING_HEADINGS:
        assert heading in inspect.getdoc(find_task(name))


@pytest.mark.parametrize("name", every_task())
def test_registered_tasks_keep_the_contract(name):
    check_environment(find_task(name)(2))


def test_gradient_of_detours_return_is_right():
    task = Detour(2, dtype=torch.float64)
    episode = task.reset(0)

    def total(actions: torch.Tensor) -> torch.Tensor:
        now, value = episode, torch.zeros((), dtype=torch.float64)
        for action in actions:
            now, reward, _ = task.step(now, action)
            value = value + reward.sum()
        return value

    actions = torch.tensor([[0.6, 0.2], [0.5, -0.3]], dtype=torch.float64).expand(4, 2, 2).contiguous()
    ds.gradcheck(total, {"actions": actions}, directions=2, tolerance=1e-5)


def test_detour_takes_another_mesh(tmp_path):
    trimesh.creation.icosphere(subdivisions=2).export(tmp_path / "ball.stl")
    task = Detour(2, mesh=tmp_path / "ball.stl")
    body = task.sim.scene.soft_bodies[0]
    assert isinstance(body.shape, ds.TriangleMesh)
    assert body.shape.name == "ball.stl"
    assert float(body.shape.surface_mesh().extents.max()) == pytest.approx(0.28)
    _, reward, _ = task.step(task.reset(0), torch.zeros(2, 2))
    assert torch.isfinite(reward).all()


def test_detour_names_the_way_taken():
    task = Detour(2)
    path = torch.zeros(4, 2, task.observation_dim)
    path[:, :, 0] = torch.tensor([0.25, 0.5, 0.61, 0.95])[:, None]
    path[:, :, 1] = torch.tensor([[0.7, 0.7], [1.0, 0.4], [1.1, 0.3], [0.7, 0.7]])
    ways = task.outcome(task.reset(0).replace(observations=tuple(path))).tolist()
    assert [task.outcome_names[label] for label in ways] == ["the duck's left", "the duck's right"]
    before_the_wall = task.reset(0).replace(observations=tuple(path[:2]))
    assert task.outcome(before_the_wall).tolist() == [-1, -1]


def test_detours_goal_may_differ_by_environment():
    task = Detour(3, goal_spread=0.1)
    assert task.observation_dim == Detour(3).observation_dim + 2
    episode = task.reset(7)
    goals = episode["goal"]
    assert len(goals.unique(dim=0)) == 3
    assert torch.equal(task.observe(episode)[:, -2:], goals)
    assert torch.equal(Detour(1, goal_spread=0.1).reset(7)["goal"][0], goals[0])
    centres = [task.markers(episode, environment)[0].center for environment in range(3)]
    assert centres == [tuple(goal) for goal in goals.tolist()]
    still = torch.zeros(3, 2)
    assert task.step(episode, still)[1].unique().numel() == 3
