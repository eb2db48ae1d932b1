"""Entry point: finds the sub-command, and is the one place that turns a user's mistake into one line and an exit code.

Nothing heavy is imported before a sub-command needs it: ``--help`` and ``--version`` work without torch.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module

COMMANDS = {
    "optimize": ("rpg.cli.run_command:optimize", "optimise a task; metrics, checkpoints, plot and video go to a folder"),
    "evaluate": ("rpg.cli.evaluate:evaluate", "a run's success and returns, on its own task or another one"),
    "compare": ("rpg.cli.compare:compare", "several runs: learning curves with bands over seeds, and a table"),
    "sweep": ("rpg.cli.sweep:sweep", "many runs, over seeds and settings, in parallel processes; can be resumed"),
    "render": ("rpg.cli.render:render", "a run's video again, from another camera or in another size"),
    "view": ("rpg.cli.view:view", "a run's solutions on an interactive page: time, forces, gradients, parameters"),
    "tasks": ("rpg.cli.listing:list_tasks", "the tasks; with a name, all about one"),
    "new-task": ("rpg.cli.new_task:new_task", "write the skeleton of a task of your own, which runs"),
    "check-task": ("rpg.cli.check_task:check_task", "what is right and wrong with a task, before it is trained"),
    "algorithms": ("rpg.cli.listing:list_algorithms", "the algorithms; with a name, its settings"),
    "completion": ("rpg.cli.completion:completion", "a script for the shell that completes options: bash, zsh, tcsh"),
}
"""Where each sub-command is, and what it does. It is a function that reads its arguments and returns another one, which does
the work and returns the exit code; or it does the work, and returns the code, itself."""
COMMAND_GROUP = "rpg.commands"
"""An entry point of this group loads a further sub-command of an installed package, a function likewise."""
FAILED, MISTAKEN, INTERRUPTED, TERMINATED = 1, 2, 130, 143
NO_MEMORY = ("can't allocate memory", "emory allocation")  # how libraries say so, torch and kernel compilers

Command = Callable[[list[str]], "Callable[[], int] | int | None"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the process's exit code: 0 done, 1 physics or optimisation failed, 2 wrong input or a file
    that cannot be written, 3 done but for the video, 130 interrupted, 143 terminated."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given)
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED, given)
    except SystemExit as error:
        if error.code != TERMINATED:  # a parser's
            raise
        return _failed("terminated", TERMINATED, given)
    except BrokenPipeError:  # whoever read the output has gone
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        known = _in_words(error)
        if known is None:
            raise
        return _failed(*known, given)
    finally:
        if arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the interpreter's own end is left


def _run(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0 if given else MISTAKEN
    if given[0] == "--version":
        from importlib.metadata import version

        print(f"diffsim-rpg {version('diffsim-rpg')}")
        return 0
    from rpg.training.termination import end_with_parent

    end_with_parent()
    with _quitting_at_signals():
        work = _loaded(given[0])(given[1:])
        from rpg.training.termination import terminable
    with terminable():
        return int((work() if callable(work) else work) or 0)


def _loaded(name: str) -> Command:
    """The function of a sub-command."""
    if name in COMMANDS:
        module, _, function = COMMANDS[name][0].partition(":")
        return getattr(import_module(module), function)
    others = _other_commands()
    if name in others:
        return others[name].load()
    import difflib

    from rpg.settings_checks import SettingError

    near = difflib.get_close_matches(name, [*COMMANDS, *others], n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise SettingError(f"unknown command '{name}'; commands: {', '.join([*COMMANDS, *others])}{hint}")


def _other_commands() -> dict:
    from importlib.metadata import entry_points

    return {found.name: found for found in entry_points(group=COMMAND_GROUP)}


def _overview() -> str:
    """What ``--help`` prints."""
    lines = [
        "usage: diffsim-rpg COMMAND ... [--help]",
        "",
        "Differentiable manipulation: optimise a task, and show, measure and compare what was found.",
        "",
        "commands:",
        *(f"  {name:<12}{summary}" for name, (_, summary) in COMMANDS.items()),
        *(f"  {name:<12}of an installed package" for name in _other_commands()),
        "",
        "options:",
        "  -h, --help  of a command: its options. Of a task's settings: diffsim-rpg optimize TASK --help",
        "  --version   the version",
        "  --json      of a command that computes: one JSON object on the last line of its output",
        "  --quiet     of such a command: no output but that and errors",
        "",
        "Completion of commands and options by the shell: diffsim-rpg completion --help",
    ]
    return "\n".join(lines)


def _in_words(error: Exception) -> tuple[str, int] | None:
    """One line for an error that is not the program's own, and the exit code; None if it is."""
    from rpg.settings_checks import SettingError

    text = " ".join(str(error).split())
    if isinstance(error, SettingError):
        return f"error: {text}", MISTAKEN
    if isinstance(error, OSError) and error.strerror:
        return f"error: {error.strerror}" + (f": '{error.filename}'" if error.filename else ""), MISTAKEN
    if isinstance(error, OSError):
        return f"error: {text}", MISTAKEN
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return "error: there is not enough memory for this; fewer environments (--num-envs) need less", MISTAKEN
    from rpg.algorithms.algorithm import NotFiniteError
    from rpg.protocol import ProtocolError
    from rpg.training.checkpoint import CheckpointError, CheckpointMismatch
    from rpg.training.ranks import RankError
    from rpg.training.run_lock import RunLockedError

    if isinstance(error, ProtocolError | CheckpointError | CheckpointMismatch | RunLockedError):
        return f"error: {text}", MISTAKEN
    if isinstance(error, RankError):
        return f"error: {text}; --resume goes on from the last checkpoint", FAILED
    if isinstance(error, NotFiniteError):
        return f"optimisation failed: {text}", FAILED
    if isinstance(error, FloatingPointError):  # an environment's own
        return f"physics failed: {text}", FAILED
    return None


def _failed(line: str, code: int, given: list[str]) -> int:
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
        if "--json" in given:
            print(json.dumps({"error": line.removeprefix("error: "), "exit_code": code}), flush=True)
    return code


@contextmanager
def _quitting_at_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the process at once, in one line: for the time in which modules are imported, where an
    exception could come out as anything, and nothing has been written yet."""
    words = {signal.SIGINT: (b"interrupted\n", INTERRUPTED), signal.SIGTERM: (b"terminated\n", TERMINATED)}

    def quit_at_once(number: int, frame: object) -> None:
        line, code = words[signal.Signals(number)]
        if os.isatty(1):
            os.write(1, b"\x1b[?25h\r\x1b[K")  # the cursor, which a spinner hides
        os.write(2, line)
        os._exit(code)

    replaced = {}
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is default:
            with suppress(ValueError):  # not on the main thread
                replaced[number] = signal.signal(number, quit_at_once)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
