"""PlasticineLab's ten tasks (Huang et al., ICLR 2021), rebuilt: five variants each, targets of our own making."""

from tasks.plasticine.plasticine_assembly import PlasticineAssembly
from tasks.plasticine.plasticine_chopsticks import PlasticineChopsticks
from tasks.plasticine.plasticine_move import PlasticineMove
from tasks.plasticine.plasticine_pinch import PlasticinePinch
from tasks.plasticine.plasticine_rolling_pin import PlasticineRollingPin
from tasks.plasticine.plasticine_rope import PlasticineRope
from tasks.plasticine.plasticine_table import PlasticineTable
from tasks.plasticine.plasticine_task import PlasticineTask
from tasks.plasticine.plasticine_torus import PlasticineTorus
from tasks.plasticine.plasticine_triple_move import PlasticineTripleMove
from tasks.plasticine.plasticine_writer import PlasticineWriter

__all__ = [
    "PlasticineAssembly",
    "PlasticineChopsticks",
    "PlasticineMove",
    "PlasticinePinch",
    "PlasticineRollingPin",
    "PlasticineRope",
    "PlasticineTable",
    "PlasticineTask",
    "PlasticineTorus",
    "PlasticineTripleMove",
    "PlasticineWriter",
]
