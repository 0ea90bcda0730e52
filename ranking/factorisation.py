"""Matrix factorisation over ids alone: the bar for a network that reads ids.

    logit P(click) = b + b_user + b_item + p_user . q_item

fitted by the penalised likelihood of the train rows (probabilistic matrix factorisation, Salakhutdinov and Mnih 2007; logistic loss as in Johnson 2014)

    sum over rows of log loss + w_b / 2 * (|b_user|^2 + |b_item|^2) + w_f / 2 * (|p|^2 + |q|^2)

Notable choices
- The validation period chooses the two weights: that of the biases first, without factors, then that of the factors. A large weight puts all factors to zero, for the
  penalty is that of the nuclear norm (Srebro et al. 2005): biases alone are among the candidates.
- The whole sum is minimised by SciPy's L-BFGS, in float64: no rate, no batches, no order of rows. Without factors it is the owner's logistic regression, and is tested against it.
- What training never saw has bias and factors of zero, the penalty's own centre. No counters, no past, no content.
- Seeds differ by where the factors start: the sum with factors has several minima.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from moon_rec.errors import RankingError
from moon_rec.seeds import generator
from ranking.features import Period, RankingTables
from ranking.metrics import auc

NUM_FACTORS = 8
BIAS_WEIGHTS = (0.3, 1.0, 3.0, 10.0, 30.0)
FACTOR_WEIGHTS = (20.0, 10.0, 5.0, 2.5)
"""Tried in this order, until validation falls."""
MOST_STEPS = 100
START_SIZE = 0.1
"""Standard deviation of the factors at the start."""


@dataclass(frozen=True)
class Ids:
    """Rows of a period as two ids each; row 0 stands for what training never saw.

    Attributes:
        users, items: `(rows,)`, vocabulary rows. num_users, num_items: row 0 included.
    """

    users: np.ndarray
    items: np.ndarray
    num_users: int
    num_items: int

    @classmethod
    def of(cls, tables: RankingTables, period: Period) -> "Ids":
        """Of a period's rows in the tables' order."""
        requests, sizes = tables.periods[period], tables.num_embeddings
        users = requests.users[requests.row_requests()]
        return cls(
            users, tables.items.features["item"][requests.items], sizes["user"], sizes["item"]
        )


@dataclass(frozen=True, repr=False)
class Factors:
    """The weights: `bias`, `user_biases (users,)`, `item_biases (items,)`, `users (users, factors)`, `items (items, factors)`; row 0 of each is zero."""

    bias: float
    user_biases: np.ndarray
    item_biases: np.ndarray
    users: np.ndarray
    items: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, ids: Ids, num_factors: int) -> "Factors":
        """Of one vector of all of them, without the rows 0."""
        sizes = np.array([ids.num_users - 1, ids.num_items - 1])
        places = np.cumsum([1, *sizes, *sizes * num_factors])
        bias, user_biases, item_biases, users, items = np.split(values, places[:-1])
        return cls(
            float(bias[0]),
            np.concatenate([[0.0], user_biases]),
            np.concatenate([[0.0], item_biases]),
            np.concatenate([np.zeros((1, num_factors)), users.reshape(sizes[0], num_factors)]),
            np.concatenate([np.zeros((1, num_factors)), items.reshape(sizes[1], num_factors)]),
        )

    def flat(self) -> np.ndarray:
        """One vector; `of` undoes it."""
        parts = (self.user_biases[1:], self.item_biases[1:], self.users[1:].ravel())
        return np.concatenate([[self.bias], *parts, self.items[1:].ravel()])

    def logits(self, ids: Ids) -> np.ndarray:
        """`(rows,)` float64."""
        found = self.bias + self.user_biases[ids.users] + self.item_biases[ids.items]
        return found + np.einsum("rf,rf->r", self.users[ids.users], self.items[ids.items])


@dataclass(frozen=True, repr=False)
class TrainedFactors:
    """Fitted factors, which score tables as a `TrainedRanker` does.

    Attributes:
        preparation_digest: of the tables whose ids they know.
        bias_weight, factor_weight: that validation chose. validation_auc: with those.
    """

    factors: Factors
    preparation_digest: str
    bias_weight: float
    factor_weight: float
    validation_auc: float

    @property
    def chosen(self) -> str:
        """What validation chose, in words."""
        if np.isinf(self.factor_weight):
            return f"biases alone, weight {self.bias_weight:g}"
        return f"weights {self.bias_weight:g} and {self.factor_weight:g}"

    def predict(self, tables: RankingTables, period: Period) -> np.ndarray:
        """Click probabilities of a period's rows, in the tables' order, float64 `(rows,)`.

        Raises:
            RankingError: tables of another preparation.
        """
        if tables.preparation.digest != self.preparation_digest:
            raise RankingError(
                f"the factors know ids of preparation {self.preparation_digest}, not {tables.preparation.digest}: build the tables with the same shop and features"
            )
        return expit(self.factors.logits(Ids.of(tables, period)))


def train_factors(
    tables: RankingTables, seed: int = 0, num_factors: int = NUM_FACTORS
) -> TrainedFactors:
    """Fit on the train period; the validation period chooses the weights of the penalty."""
    ids = Ids.of(tables, "train")
    labels = tables.periods["train"].labels.astype(np.float64)
    held_out, wanted = Ids.of(tables, "validation"), tables.periods["validation"].labels

    def judged(factors: Factors, weights: tuple[float, float]) -> TrainedFactors:
        found = auc(wanted, factors.logits(held_out))
        return TrainedFactors(factors, tables.preparation.digest, *weights, found)

    flat = np.zeros(1 + ids.num_users - 1 + ids.num_items - 1)
    plain = [
        judged(fit(ids, labels, Factors.of(flat, ids, 0), weight, 0.0), (weight, np.inf))
        for weight in BIAS_WEIGHTS
    ]
    best = max(plain, key=lambda one: one.validation_auc)
    found = [best]
    for weight in FACTOR_WEIGHTS:  # each from the same start: factors that came to zero stay there
        start = _with_factors(best.factors, num_factors, seed)
        factors = fit(ids, labels, start, best.bias_weight, weight)
        found.append(judged(factors, (best.bias_weight, weight)))
        if found[-1].validation_auc < found[-2].validation_auc:
            break
    return max(found, key=lambda one: one.validation_auc)


def fit(
    ids: Ids, labels: np.ndarray, start: Factors, bias_weight: float, factor_weight: float
) -> Factors:
    """The minimum of the penalised sum that is found from `start`."""
    num_factors = start.users.shape[1]
    objective = _objective(ids, labels, num_factors, bias_weight, factor_weight)
    options = {"maxiter": MOST_STEPS, "maxcor": 20}
    done = minimize(objective, start.flat(), jac=True, method="L-BFGS-B", options=options)
    return Factors.of(done.x, ids, num_factors)


def _objective(
    ids: Ids, labels: np.ndarray, num_factors: int, bias_weight: float, factor_weight: float
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The penalised sum and its gradient, of one vector of all weights."""

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        now = Factors.of(flat, ids, num_factors)
        logits = now.logits(ids)
        loss = float((np.logaddexp(0, logits) - labels * logits).sum())
        biases, factors = (now.user_biases, now.item_biases), (now.users, now.items)
        loss += bias_weight / 2 * sum(float((one**2).sum()) for one in biases)
        loss += factor_weight / 2 * sum(float((one**2).sum()) for one in factors)
        error = expit(logits) - labels
        slope = Factors(
            float(error.sum()),
            _sums(error, ids.users, ids.num_users) + bias_weight * now.user_biases,
            _sums(error, ids.items, ids.num_items) + bias_weight * now.item_biases,
            _sums(error[:, None] * now.items[ids.items], ids.users, ids.num_users) + factor_weight * now.users,
            _sums(error[:, None] * now.users[ids.users], ids.items, ids.num_items) + factor_weight * now.items,
        )  # fmt: skip
        return loss, slope.flat()

    return value


def _sums(values: np.ndarray, rows: np.ndarray, num_rows: int) -> np.ndarray:
    """Sums of `values` `(rows, ...)` by row."""
    if values.ndim == 1:
        return np.bincount(rows, values, num_rows)
    columns = [np.bincount(rows, column, num_rows) for column in values.T]
    return np.stack(columns, axis=1) if columns else np.zeros((num_rows, 0))


def _with_factors(plain: Factors, num_factors: int, seed: int) -> Factors:
    """The same biases, and factors drawn anew."""
    random = generator(seed, "factors")
    users, items = (
        START_SIZE * random.normal(size=(one.size, num_factors))
        for one in (plain.user_biases, plain.item_biases)
    )
    users[0], items[0] = 0, 0
    return replace(plain, users=users, items=items)
