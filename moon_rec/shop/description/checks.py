"""What `shop check` finds, rule by rule, for the description."""

from moon_rec.shop.description.results import Check
from moon_rec.shop.leaks import leaks_by_check
from moon_rec.shop.problem import Problem
from moon_rec.shop.schema import PICTURES
from moon_rec.shop.shop import Shop
from moon_rec.shop.validation import validate_folder
from moon_rec.shown import visible

RULES = "every rule of the tables"


def checks_of(shop: Shop) -> tuple[tuple[Check, ...], int | None]:
    """Every check with what it found, and how many pictures do not decode.

    Warnings are only looked for in a shop that keeps every rule.
    """
    problems = validate_folder(shop.path)
    found = [_check(RULES, problems, is_rule=True)]
    broken = sum(one.count for one in problems if one.column == PICTURES.get(one.table))
    if not problems:
        leaks = leaks_by_check(shop)
        found += [_check(name, some, is_rule=False) for name, some in leaks.items()]
    return tuple(found), broken


def _check(name: str, problems: list[Problem], is_rule: bool) -> Check:
    return Check(name=name, is_rule=is_rule, found=tuple(visible(one) for one in problems))
