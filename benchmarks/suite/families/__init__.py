"""The suite's tasks, a module for each folder of `tasks`; and those of them that are run closed-loop, apart."""

from benchmarks.suite.families import closed_loop, household, panda, plasticine, rewarped, rpg_papers, small
from benchmarks.suite.suite_task import SuiteTask

FAMILIES = {
    "plasticine": plasticine.TASKS,
    "rpg_papers": rpg_papers.TASKS,
    "rewarped": rewarped.TASKS,
    "panda": panda.TASKS,
    "household": household.TASKS,
    "small": small.TASKS,
}
TASKS: dict[str, SuiteTask] = {task.name: task for family in FAMILIES.values() for task in family}
CLOSED_LOOP: dict[str, SuiteTask] = {task.key: task for task in closed_loop.TASKS}
