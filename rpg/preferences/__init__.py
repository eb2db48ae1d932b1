"""Rewards learned from preferences: a teacher says which of two segments of episodes it prefers.

`reward_learning` is the method from top to bottom; `LearnedReward` is the environment that it gives.
"""

from rpg.preferences.bradley_terry import preference_loss
from rpg.preferences.learned_reward import LearnedReward
from rpg.preferences.reward_learning import PreferenceConfig, RewardLearning, learn_reward, load_learning
from rpg.preferences.reward_model import RewardModel
from rpg.preferences.segments import Segments
from rpg.preferences.teacher import BudgetError, Teacher

__all__ = [
    "BudgetError",
    "LearnedReward",
    "PreferenceConfig",
    "RewardLearning",
    "RewardModel",
    "Segments",
    "Teacher",
    "learn_reward",
    "load_learning",
    "preference_loss",
]
