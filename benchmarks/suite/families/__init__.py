"""The suite's tasks, a module for each folder of `tasks`."""

from benchmarks.suite.families import household, panda, plasticine, rewarped, rpg_papers, small
from benchmarks.suite.suite_task import SuiteTask

TASKS: dict[str, SuiteTask] = {
    task.name: task for family in (plasticine, rpg_papers, rewarped, panda, household, small) for task in family.TASKS
}
