"""Several trajectories side by side in one scene of viser: their nodes, arrows, the ground, the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffsim.render.scene_renderer import SceneRenderer
from diffsim.viewer.arrows import Arrows, common_scale
from diffsim.viewer.scene_nodes import SceneNodes
from diffsim.viewer.tracks import Track

if TYPE_CHECKING:
    import viser

BACKGROUND = (237, 240, 244)  # as of the pictures
GROUND, LINES = (219, 219, 217), (189, 191, 196)
DETAIL = (1280, 960)  # pixels that rigid meshes are fine enough for
LONGEST = 0.13  # length of the longest arrows over the size of what the camera sees
APART = 0.85  # distance of neighbours over the width of what the camera of one of them sees, at most
ROOM = 0.8  # width that the outermost ones have, over the same
TITLE = 0.4  # height of the titles over the middle, over the height of what the camera sees
ASPECT = 1.6  # of a browser's window: width over height
SKY = 2.1  # light from above and below
SUNS = (("sun", (-0.5, -0.6, 1.0), 2.6, True), ("fill", (0.8, 0.3, 0.6), 0.6, False))  # name, where it is, how bright, shadows
ARROW_COLORS = {"forces": (214, 40, 57), "gradients": (20, 130, 70)}
ARROW_TEXTS = {"forces": "contact force", "gradients": "gradient of the return"}


@dataclass
class _Place:
    """A trajectory's nodes and arrows."""

    track: Track
    root: str
    nodes: SceneNodes
    arrows: dict[str, viser.ArrowsHandle]


class Stage:
    """The scene of a page.

    Args:
        server: viser's.
        tracks: at least one.
        points: most particles of a body that are drawn.
    """

    def __init__(self, server: viser.ViserServer, tracks: Sequence[Track], *, points: int) -> None:
        self._server, self._points = server, points
        self._parts: dict[int, tuple[object, SceneRenderer]] = {}
        self._arrows: dict[str, list[Sequence[Arrows]]] = {}
        self._shown: set[str] = set()
        self._hidden: set[int] = set()
        self._layout(tracks)
        server.scene.set_up_direction("+z")
        server.scene.set_background_image(np.full((4, 4, 3), BACKGROUND, np.uint8), format="png")
        self._lights()
        self._ground()
        self._look()
        self._places = [self._placed(number, track) for number, track in enumerate(tracks)]
        self.show(0.0)

    @property
    def tracks(self) -> list[Track]:
        """What is shown."""
        return [place.track for place in self._places]

    def show(self, time: float) -> None:
        """Bring everything to a time, s."""
        with self._server.atomic():
            for number, place in enumerate(self._places):
                if number in self._hidden:
                    continue
                place.nodes.show(place.track.state_at(time))
                for kind in self._shown:
                    place.arrows[kind].points = self._arrow_points(kind, number, time)

    def show_arrows(self, kinds: set[str]) -> None:
        """Which of "forces" and "gradients" are there from the next `show` on; they are asked for when they are first shown."""
        for kind in kinds - set(self._arrows):
            self._arrows[kind] = [list(getattr(track, kind)()) for track in self.tracks]
        self._shown = kinds
        for place in self._places:
            for kind, handle in place.arrows.items():
                handle.visible = kind in kinds

    def legend(self) -> str:
        """What the arrows that are shown mean, as HTML; empty without arrows."""
        lines = (
            f'<div><span style="color:rgb{ARROW_COLORS[kind]}">&#10140;</span> {ARROW_TEXTS[kind]}{self._unit(kind)}</div>'
            for kind in sorted(self._shown)
        )
        return "".join(lines)

    def _unit(self, kind: str) -> str:
        scale = self._scale(kind)
        return f", the longest {scale:.3g} N" if kind == "forces" and scale > 0.0 else ""

    def _scale(self, kind: str) -> float:
        """The size that is drawn at full length: forces compare over time and trajectories, gradients at one time."""
        if kind != "forces":
            return 1.0
        return common_scale([each for track in self._arrows[kind] for each in track])

    def show_track(self, number: int, visible: bool) -> None:
        """Whether a trajectory is there from the next `show` on."""
        (self._hidden.discard if visible else self._hidden.add)(number)
        self._server.scene.add_frame(self._places[number].root, show_axes=False, position=self._offset(number), visible=visible)

    def replace(self, tracks: Sequence[Track]) -> None:
        """Other trajectories in the places of these, as many."""
        with self._server.atomic():
            for place in self._places:
                place.nodes.remove()
            self._parts.clear()
            self._places = [self._placed(number, track) for number, track in enumerate(tracks)]
            self._arrows.clear()
        kinds, self._shown = self._shown, set()
        self.show_arrows({kind for kind in kinds if all(getattr(track, kind) for track in tracks)})

    def _placed(self, number: int, track: Track) -> _Place:
        root = f"/{number + 1}"
        scene = self._server.scene
        scene.add_frame(root, show_axes=False, position=self._offset(number), visible=number not in self._hidden)
        nodes = SceneNodes(
            self._server, f"{root}/scene", self._renderer(track), particles=track.drawn_as != "surface",
            points=self._points,
        )  # fmt: skip
        nodes.mark(tuple(track.markers))
        if track.title:
            text = f"{track.title} ({track.detail})" if track.detail else track.title
            scene.add_label(f"{root}/title", text, position=tuple(self._title.tolist()), anchor="bottom-center")
        width = 0.03 * self._longest
        arrows = {
            kind: scene.add_arrows(
                f"{root}/{kind}", np.zeros((0, 2, 3), np.float32), ARROW_COLORS[kind], shaft_radius=width,
                head_radius=2.6 * width, head_length=6.0 * width, visible=kind in self._shown,
            )
            for kind in ARROW_COLORS
            if getattr(track, kind) is not None
        }  # fmt: skip
        return _Place(track, root, nodes, arrows)

    def _arrow_points(self, kind: str, number: int, time: float) -> np.ndarray:
        every = self._arrows[kind]
        scale = self._scale(kind)
        step = min(self._places[number].track.step_at(time), len(every[number]) - 1)
        if scale == 0.0 or step < 0:
            return np.zeros((0, 2, 3), np.float32)
        return every[number][step].drawn(scale, self._longest).astype(np.float32)

    def _renderer(self, track: Track) -> SceneRenderer:
        """What draws a scene, of which its parts are used; trajectories of one scene share it."""
        key = id(track.scene)
        if key not in self._parts:
            made = SceneRenderer(track.scene, camera=track.camera, width=DETAIL[0], height=DETAIL[1])
            self._parts[key] = (track.scene, made)  # the scene is kept, so that its id stays its own
        return self._parts[key][1]

    def _layout(self, tracks: Sequence[Track]) -> None:
        """Where the trajectories stand, and the camera that sees them all."""
        renderer = self._renderer(tracks[0])
        camera, (low, high) = renderer.first_camera, renderer.framing.box
        away = float(np.linalg.norm(np.subtract(camera.target, camera.position)))
        seen = 2.0 * camera.half_height * away
        right = camera.axes[0] * (1.0, 1.0, 0.0)
        right /= max(float(np.linalg.norm(right)), 1e-9)
        wide = float(np.abs(right) @ (high - low))
        self._step = right * min(1.1 * wide, APART * seen * DETAIL[0] / DETAIL[1])
        self._count = len(tracks)
        self._longest = LONGEST * seen
        self._camera, self._box, self._floor = camera, renderer.framing.box, renderer.framing.ground(camera, ())
        self._title = np.asarray(camera.target) + TITLE * seen * camera.axes[1]
        row = float(np.linalg.norm(self._step)) * (len(tracks) - 1) + ROOM * seen * DETAIL[0] / DETAIL[1]
        self._distance = max(away, away * row / (seen * ASPECT))

    def _offset(self, number: int) -> tuple[float, float, float]:
        x, y, z = (self._step * (number - 0.5 * (self._count - 1))).tolist()
        return x, y, z

    def _look(self) -> None:
        camera = self._camera
        target = np.asarray(camera.target)
        eye = target - self._distance * camera.axes[2]
        initial = self._server.initial_camera
        initial.fov = float(np.radians(camera.vertical_fov_degrees))
        initial.position, initial.look_at = eye, target

    def _lights(self) -> None:
        scene = self._server.scene
        scene.configure_default_lights(enabled=False)
        scene.configure_environment_map(None)
        high = 4.0 * float(np.linalg.norm(self._box[1] - self._box[0]))
        scene.add_light_hemisphere("/sky", sky_color=(255, 255, 255), ground_color=(170, 170, 175), intensity=SKY)
        for name, direction, intensity, shadow in SUNS:
            x, y, z = (high * np.asarray(direction)).tolist()
            scene.add_light_directional(f"/{name}", intensity=intensity, cast_shadow=shadow, position=(x, y, z))

    def _ground(self) -> None:
        """A grid as wide as all that is shown, at the height of the ground."""
        ground, (low, high) = self._floor, self._box
        reach = np.abs(self._step[:2]) * (self._count - 1)
        middle = 0.5 * (low + high)[:2] if ground is None else np.asarray(ground.center)
        half = 0.5 * (high - low)[:2] if ground is None else np.asarray(ground.extent)
        size = 2.0 * half + reach
        spacing = float(10.0 ** np.floor(np.log10(max(half)))) if ground is None else ground.spacing
        size = spacing * np.ceil(size / spacing / 2.0) * 2.0
        height = float(low[2]) if ground is None else ground.height
        self._server.scene.add_grid(
            "/ground", float(size[0]), float(size[1]), plane="xy", cell_size=spacing, cell_color=LINES, section_size=spacing,
            section_color=LINES, section_thickness=1.0, plane_color=GROUND, plane_opacity=0.0 if ground is None else 1.0,
            shadow_opacity=0.25, position=(float(middle[0]), float(middle[1]), height), fade_distance=1e3,
        )  # fmt: skip
