"""Wrong arguments to simulators, steps, states, inverse kinematics, gradient checks, pictures and videos."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch

import diffsim as ds
from benchmarks.bad_inputs.judging import Lazy, Named, trials
from benchmarks.bad_inputs.scene_trials import INF, NAN, VECTORS, Row, ball, body, folder, link
from diffsim.render import (
    Camera,
    ColoredMesh,
    GroundMarker,
    ParticleCloud,
    SceneRenderer,
    caption,
    side_by_side,
    write_gif,
    write_png,
    write_video,
)

FRAME = np.zeros((32, 32, 3), dtype=np.uint8)


def soft_scene() -> ds.Scene:
    """A soft body and a tool that turns."""
    tool = ds.Tool("finger", ds.Capsule(0.05, 0.02), (0.5, 0.5, 0.8), control=("x", "y", "z", "rz"))
    return ds.Scene((body(),), tools=(tool,), grid_spacing=0.1)


def rigid_scene() -> ds.Scene:
    """A robot of one hinge with a servo, and a ball."""
    servo = ds.Actuator("servo", "hinge", kind="position", gain=10.0)
    return ds.Scene(rigid_bodies=(ball(),), articulations=(ds.Articulation("robot", (link(),), (servo,)),))


@cache
def soft() -> ds.Simulator:
    """Of `soft_scene`."""
    return ds.Simulator(soft_scene(), substeps=2)


@cache
def rigid() -> ds.Simulator:
    """Of `rigid_scene`."""
    return ds.Simulator(rigid_scene(), substeps=2)


@cache
def recording() -> ds.Simulator:
    """Of `rigid_scene`, with the forces of contact."""
    return ds.Simulator(rigid_scene(), substeps=2, record_forces=True)


@cache
def hand() -> ds.EndEffector:
    """The robot's link."""
    return ds.EndEffector(rigid(), "robot.arm")


@cache
def renderer() -> SceneRenderer:
    """Of `soft_scene`."""
    return SceneRenderer(soft_scene(), width=64, height=48)


def step(sim: ds.Simulator, action: Any = None, parameters: Any = None, wrenches: Any = None, **fields: Any) -> Any:
    """A checked step with changed fields of the state. With right arguments nothing is computed: kernels need not compile."""
    if action is None and parameters is None and wrenches is None and not fields:
        return None
    action = torch.zeros(1, sim.action_dim) if action is None else action
    return sim.step(sim.reset().replace(**fields), action, parameters, wrenches)


def stepped(state: Any, action: Any) -> Any:
    """A step of any state under any action; with right arguments nothing is computed."""
    if state is RIGHT and action is RIGHT:
        return None
    return soft().step(soft().reset() if state is RIGHT else state, torch.zeros(1, 4) if action is RIGHT else action)


RIGHT = object()


def seen(states: list[ds.State]) -> torch.Tensor:
    """An objective."""
    return states[0].x.sum()


def table() -> Iterator[Row]:
    """The rows."""
    yield from _simulators()
    yield from _steps()
    yield from _robots()
    yield from _checks()
    yield from _pictures()


def _simulators() -> Iterator[Row]:
    yield trials(
        "Simulator",
        ds.Simulator,
        {"scene": Lazy(soft_scene)},
        scene=["scene", None],
        num_envs=[0, "2", 1.5, True, -1, Named(10**9, given="GB")],
        dt=["1e-3", 0.0, NAN, 1e-30, True, None, 1e3],
        substeps=[0, 1.5, True, Named(10**9, given="GB")],
        dtype=["float32", torch.int64, torch.float16, None],
        device=["gpu", None, 3],
        integrator=["rk4", None],
        record_forces=[1, "yes", None],
    )
    yield trials(
        "Simulator rigid", ds.Simulator, {"scene": Lazy(rigid_scene)}, num_envs=[Named(10**9, given="GB")], dt=[1e-30, "1"]
    )
    yield trials(
        "Simulator.contact",
        lambda contact: setattr(rigid(), "contact", contact),
        {"contact": ds.ContactModel()},
        contact=["smooth", None],
    )
    yield trials(
        "Simulator.particle_slice", lambda body: soft().particle_slice(body), {"body": "jelly"}, body=["duck", 3, None]
    )
    yield trials("Simulator.tool_index", lambda tool: soft().tool_index(tool), {"tool": "finger"}, tool=["hand", 3, ["finger"]])
    yield trials("Simulator.link_index", lambda link: rigid().link_index(link), {"link": "ball"}, link=["hand", 3, ["ball"]])
    yield trials(
        "Simulator.contact_wrench",
        lambda name, state: recording().contact_wrench(recording().reset() if state is RIGHT else state, name),
        {"name": "ball", "state": RIGHT},
        name=["hand", 3, ["ball"]],
        state=[None, 3, Lazy(lambda: rigid().reset())],
    )
    yield trials(
        "Simulator.contacts",
        lambda state, action: rigid().contacts(rigid().reset() if state is RIGHT else state, action),
        {"state": RIGHT, "action": None},
        state=[None, 3],
        action=[3.0, torch.zeros(2, 1)],
    )
    yield trials(
        "Simulator.links", lambda state: None if state is RIGHT else rigid().links(state), {"state": RIGHT}, state=[None, 3]
    )


def _steps() -> Iterator[Row]:
    actions = [
        np.zeros((1, 4)),
        None,
        3.0,
        torch.zeros(4),
        torch.zeros(2, 4),
        torch.full((1, 4), NAN),
        torch.zeros(1, 4).double(),
    ]
    yield trials("step", stepped, {"state": RIGHT, "action": RIGHT}, state=[None, 3, {"x": 1}], action=actions)
    nan = torch.full((1, 1, 3), NAN)
    yield trials(
        "step of a state",
        lambda **fields: step(soft(), **fields),
        {},
        x=[None, torch.zeros(1, 3), nan.expand(1, 33, 3)],
        v=[torch.zeros(1, 2, 3)],
        F=[torch.zeros(1, 1, 3)],
        tool_position=[nan, torch.zeros(1, 2, 3), None],
        tool_rotation=[torch.zeros(1, 1, 4), torch.full((1, 1, 4), NAN)],
        time_step=[torch.zeros(1), 3, torch.zeros(1, 1, dtype=torch.int64)],
        parameters=[
            *(
                Named(given, "parameter", said)
                for given, said in (
                    ({"duck.mass": torch.zeros(())}, "duck.mass"),
                    ({"jelly.density": 5.0}, "5.0"),
                    ({"jelly.density": torch.tensor(-1.0)}, "-1.0"),
                    ({"gravity": torch.zeros(2)}, "(2,)"),
                    ({"jelly.poissons_ratio": torch.tensor(0.75)}, "0.75"),
                    ({"finger.friction": torch.tensor(1e9)}, "1000000000.0"),
                )
            ),
            [1.0],
            3,
        ],
        wrenches=[{"jelly": ds.Wrench()}],
    )
    yield trials(
        "step of rigid bodies",
        lambda **fields: step(rigid(), **fields),
        {},
        q=[torch.full((1, 8), NAN), torch.zeros(1, 8), None, torch.zeros(1, 3)],
        qd=[torch.zeros(1, 8), torch.full((1, 7), INF)],
        parameters=[
            Named({"ball.friction": torch.tensor(1e9)}, "parameter", "1000000000.0"),
            Named({"ball.mass": torch.tensor(-1.0)}, "parameter", "-1.0"),
            Named({3: torch.tensor(1.0)}, "parameter", "3"),
        ],
        wrenches=[
            {"duck": ds.Wrench()},
            {"ball": 3.0},
            {"ball": ds.Wrench(force=torch.full((3,), NAN))},
            3,
            {"ball": ds.Wrench(force=torch.zeros(5))},
        ],
    )
    rows = [torch.zeros(1, 4), np.zeros((1, 1, 4)), Named(torch.full((2, 1, 4), NAN), "action"), None]
    yield trials(
        "rollout", lambda actions: soft().rollout(soft().reset(), actions), {"actions": torch.zeros(0, 1, 4)}, actions=rows
    )
    yield trials(
        "rollout state",
        lambda state: soft().rollout(soft().reset() if state is RIGHT else state, torch.zeros(0, 1, 4)),
        {"state": RIGHT},
        state=[None, 3],
    )
    yield trials(
        "windowed_rollout",
        lambda window, observe: soft().windowed_rollout(soft().reset(), torch.zeros(0, 1, 4), observe, window=window),
        {"window": 2, "observe": lambda state: state.x},
        window=[0, 1.5, "2", True, None],
        observe=[None, "x"],
    )
    fields = lambda **changes: soft().reset().replace(**changes)  # noqa: E731
    yield trials(
        "State.replace",
        fields,
        {},
        velocity=[Named(torch.zeros(1), given="velocity")],
        x=[None, 3, Named(np.zeros((1, 30, 3)), given="array")],
        time_step=[1.5],
    )
    yield trials("State[]", lambda index: soft().reset()[index], {"index": 0}, index=[7, "first", 1.5, None])
    yield trials(
        "State.stack",
        lambda states: ds.State.stack([soft().reset()] if states is RIGHT else states),
        {"states": RIGHT},
        states=[[], [3], None],
    )
    yield trials(
        "State.load",
        lambda path: None if path is RIGHT else ds.State.load(path),
        {"path": RIGHT},
        path=[
            Named("none.pt", "state file", "none.pt"),
            Named(folder() / "noise.glb", "saved", "noise.glb"),
            Named(folder() / "empty.obj", "saved", "empty.obj"),
            3,
        ],
    )
    yield trials("Wrench", ds.Wrench, {}, force=["123", (0.0, 1.0), None, (NAN, 0.0, 0.0)], torque=[1.0, "abc"])


def _robots() -> Iterator[Row]:
    yield trials(
        "EndEffector",
        ds.EndEffector,
        {"simulator": Lazy(rigid), "link": "robot.arm"},
        simulator=["robot", None],
        link=["hand", 3],
        joints=[("elbow",), 3, ("robot.hinge",) * 2],
        point=VECTORS[:2],
        damping=["1", 0.0, True],
        iterations=[0, 1.5, True],
    )
    state = lambda: rigid().reset()  # noqa: E731
    yield trials(
        "EndEffector.solve",
        lambda position, rotation=None: (
            None if position is RIGHT else hand().solve(state(), torch.zeros(1, 3) if position is None else position, rotation)
        ),
        {"position": RIGHT},
        position=[(0.0, 0.0, 0.0), torch.zeros(3), torch.full((1, 3), NAN)],
    )
    yield trials(
        "EndEffector.solve turned",
        lambda rotation: None if rotation is RIGHT else hand().solve(state(), torch.zeros(1, 3), rotation),
        {"rotation": RIGHT},
        rotation=[torch.zeros(1, 4), torch.zeros(1, 3), "up"],
    )
    yield trials(
        "EndEffector.action_for",
        lambda targets, kind="position": hand().action_for(targets, kind),
        {"targets": torch.zeros(1, 1)},
        targets=[torch.zeros(1, 5), (0.0,), None],
        kind=["torque"],
    )


def _checks() -> Iterator[Row]:
    square = lambda x: x.square().sum()  # noqa: E731
    double = torch.zeros(2, dtype=torch.float64)
    yield trials(
        "gradcheck",
        ds.gradcheck,
        {"function": square, "inputs": {"x": double}},
        function=[None, Named(lambda x: x, given="(2,)")],
        inputs=[{"x": torch.zeros(2)}, {}, double, {"x": 1.0}],
        directions=[0, "3"],
        steps=[(), (0.0,)],
        tolerance=["1e-6", -1.0],
        seed=["a"],
    )

    def report(**changes: Any) -> Any:
        right = {"simulator": soft(), "state": soft().reset(), "actions": torch.zeros(0, 1, 4), "objective": seen}
        return ds.gradient_report(**{**right, **changes}) if changes else None

    yield trials(
        "gradient_report", report, {}, simulator=[3], actions=[None, torch.zeros(1, 4)], objective=[3.0, None], state=[None]
    )
    model = ds.ContactModel(stiffness=1e3, smoothing=1e-2)
    yield trials(
        "SmoothingSchedule",
        ds.SmoothingSchedule,
        {"coarse": model, "fine": model, "iterations": 10},
        coarse=["soft", None],
        fine=[Named(ds.ContactModel(), given="None")],
        iterations=[0, 1.5, True, "10"],
    )
    yield trials(
        "SmoothingSchedule.at", ds.SmoothingSchedule(model, model, 10).at, {"iteration": 1}, iteration=["1", None, NAN]
    )


def _pictures() -> Iterator[Row]:
    eye = {"position": (0.0, -2.0, 1.0), "target": (0.0, 0.0, 0.0)}
    yield trials(
        "Camera",
        Camera,
        eye,
        position=["123", (0.0, 1.0), None, (NAN, 0.0, 0.0), "eye", (0.0, 0.0, 0.0)],
        target=["abc", 3],
        vertical_fov_degrees=["32", 0.0, 180.0, NAN, True, None],
        up=[(0.0, 0.0, 0.0), "up"],
        near=["0", 0.0, -1.0, NAN],
    )
    yield trials(
        "Camera.framing",
        Camera.framing,
        {"points": np.eye(3), "aspect": 1.0},
        points=[np.zeros((0, 3)), "all", np.full((2, 3), NAN)],
        aspect=[0.0, "4:3", NAN],
        margin=[1.0, "0"],
        elevation_degrees=["high", 90.0],
    )
    yield trials(
        "SceneRenderer",
        SceneRenderer,
        {"scene": Lazy(soft_scene)},
        scene=["scene", None],
        camera=["front"],
        width=[0, "640", 1.5, 100000, True],
        height=[0, None],
        colors=[{"duck": (1.0, 0.0, 0.0)}, {"jelly": "red"}, {"jelly": (2.0, 0.0, 0.0)}, "red"],
        supersampling=[0, 9, True],
    )
    frame = lambda **changes: None if not changes else renderer().frame(**{"state": soft().reset(), **changes})  # noqa: E731
    yield trials(
        "SceneRenderer.frame",
        frame,
        {},
        state=[None, 3],
        environment=[7, "0", 0.5],
        mode=["points", None],
        markers=[("x",), 3],
    )
    yield trials(
        "GroundMarker",
        GroundMarker,
        {"center": (0.0, 0.0), "radius": 0.1, "color": (1.0, 0.0, 0.0)},
        center=[(0.0,), "12", None],
        radius=["1", 0.0, NAN],
        color=["red", (2.0, 0.0, 0.0)],
        width=[-1.0, "1"],
        opacity=[2.0, "1"],
    )
    yield trials(
        "ColoredMesh",
        ColoredMesh,
        {"vertices": np.eye(3), "faces": np.array([[0, 1, 2]]), "color": (1.0, 0.0, 0.0)},
        vertices=["mesh", np.zeros((3, 2))],
        faces=[Named(np.array([[0, 1, 9]]), given="9"), "f"],
        color=["red", (2.0, 0.0, 0.0)],
    )
    yield trials(
        "ParticleCloud",
        ParticleCloud,
        {"positions": np.eye(3), "radius": 0.1, "color": (1.0, 0.0, 0.0)},
        positions=["all", np.zeros(3)],
        radius=["1", 0.0, NAN, True],
        color=["red"],
    )
    path = {"path": folder() / "made.mp4"}
    yield trials(
        "write_video",
        write_video,
        {**path, "frames": [FRAME] * 2},
        path=["a.avi", "/nowhere/a.mp4", 3, None],
        frames=[[], Named([FRAME, FRAME[:16]], given="(16, 32, 3)"), Named(["frame"], "frame"), None, 3],
        fps=[0.0, "30", NAN, INF, True],
    )
    yield trials(
        "write_png",
        write_png,
        {"path": folder() / "made.png", "frame": FRAME},
        path=["/nowhere/a.png", 3],
        frame=[None, np.zeros((3, 3))],
    )
    yield trials(
        "write_gif",
        write_gif,
        {"path": folder() / "made.gif", "frames": [FRAME]},
        frames=[[], Named(["a"], "frame"), 3],
        fps=[0.0, "15"],
        path=["/nowhere/a.gif"],
    )
    yield trials("caption", caption, {"frame": FRAME, "text": "a"}, frame=[None], text=[3, None], subtext=[3])
    yield trials(
        "side_by_side",
        side_by_side,
        {"frames": [FRAME]},
        frames=[[], Named([FRAME, FRAME[:16]], given="16"), 3],
        separator=[-1, "4", 1.5],
    )
