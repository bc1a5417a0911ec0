"""How much each searched setting mattered, by Optuna's PED-ANOVA."""

import warnings

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from tuning.page.figure import Facts
from tuning.records import copied_from

FEW = 30
"""Below so many trials shares are mostly chance."""
LEAST = 8
"""Below so many there is nothing to say."""
TOP = 5
"""So many of the best trials, or a tenth, are told from the rest: as Optuna advises."""


def importances(facts: Facts) -> dict[str, float]:
    """Share of each setting, the largest first; they add up to 1. Empty below LEAST trials.

    Stopped trials take part with the accuracy that they had: they were not among the best, which is all that this
    method asks. Trials that repeat another one are left out.

    Source: Watanabe et al. 2023, PED-ANOVA (IJCAI), in Optuna's implementation.
    """
    own = sorted((record.number, record.params, row.val_accuracy) for row, record in facts.ranked
                 if copied_from(record.origin) is None)  # fmt: skip
    if len(own) < LEAST:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for _, params, value in own:
        distributions = facts.space.distributions(params)
        study.add_trial(create_trial(params=dict(params), distributions=distributions, value=value))
    with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):
        evaluator = PedAnovaImportanceEvaluator(target_quantile=min(0.5, max(0.1, TOP / len(own))))
        found = get_param_importances(study, evaluator=evaluator)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
