"""`docs/public_sets.md`, made of the maps: what is known of each public set, and what can be measured with it.

python -m moon_rec.shop.readers.public.page
"""

from pathlib import Path

from moon_rec.shop.readers.public.sets import KNOWN, Layout, PublicSet, public_sets

PAGE = Path("docs") / "public_sets.md"
HEAD = """# Public data sets

Each set is read from the files that its publisher ships: `python -m moon_rec shop import NAME --data DIR --out SHOP`. A set is a map for
`shop import interactions`, in `moon_rec/shop/readers/public/NAME.toml`; settings of that command go over it (`--set`, `--map`).

Columns that no map lists are left out and named at the import: one that nobody knows may tell the label. A listed column that a file lacks is
refused. Behaviour without a time is counted and left out; of a set that has no times at all, the publisher's split and the order of its lists are read. This page is made of the maps: `python -m moon_rec.shop.readers.public.page`.

How surely a column is known: **{known}**. Nothing here was downloaded for the tests: they use small files of the same form, with invented values.

| command | set | columns known from | AUC | licence |
|---|---|---|---|---|
"""


def page() -> str:
    """The page as Markdown."""
    sets = list(public_sets())
    rows = [
        f"| [`{name}`](#{name}) | {each.title} | {_known_from(each)} | {_auc(each)} | {each.licence} |"
        for name, each in sets
    ]
    parts = [HEAD.format(known="**, **".join(KNOWN)) + "\n".join(rows)]
    parts += [_section(name, each) for name, each in sets]
    return "\n\n".join(parts) + "\n"


def _known_from(described: PublicSet) -> str:
    counts = dict.fromkeys(KNOWN, 0)
    for layout in described.layouts:
        for table in layout.tables.values():
            for known in table.columns.values():
                counts[known] += 1
    return ", ".join(f"{known} ({number})" for known, number in counts.items() if number) or "-"


def _auc(described: PublicSet) -> str:
    """Which kind of AUC the set allows, from the first thing that it measures."""
    first = described.measures[0]
    if described.refused:
        return "none"
    if "observed" in first:
        return "observed impressions"
    return "sampled non-clicks" if "sampled" in first else first


def _section(name: str, described: PublicSet) -> str:
    lines = [f'## <a id="{name}"></a>{described.title}', ""]
    if described.refused:
        lines.append(f"`shop import {name}` is refused: {described.refused}.")
    else:
        command = f"python -m moon_rec shop import {name} --data DIR --out runs/{name} {described.example}"
        lines += ["```", command.rstrip(), "```", "", f"`DIR` holds {described.needs}."]
    lines += ["", f"- **Licence**: {described.licence}."]
    lines += [f"- **Measures**: {'; '.join(described.measures)}."]
    lines += [f"- **Lacks**: {'; '.join(described.lacks)}."]
    lines += [f"- **Described at**: {', '.join(f'<{each}>' for each in described.pages)}"]
    for layout in described.layouts:
        lines += ["", f"**{layout.name}**", "", *_columns(layout)]
        lines += [f"- {each.about}: `{_bring(each.file, each.bring)}`" for each in layout.vectors]
        lines += [f"- `{file}` is not read: {why}." for file, why in _ignored(layout)]
    return "\n".join(lines)


def _bring(file: str, options: str) -> str:
    words = options.format(folder="DIR")
    return f"python -m representation.bring DIR/{file} --shop SHOP --out TABLE {words}".rstrip()


def _ignored(layout: Layout) -> list[tuple[str, str]]:
    """Files that are not read, each reason once."""
    found: dict[str, str] = {}
    for file, why in layout.ignored.items():
        found.setdefault(why, file)
    return [(file, why) for why, file in found.items()]


def _columns(layout: Layout) -> list[str]:
    """The columns of a layout's tables: which is what, and how surely it is known."""
    lines = ["| table | column | is | known from |", "|---|---|---|---|"]
    named = {
        table: {
            value: role
            for role, value in layout.map.get(table, {}).items()
            if isinstance(value, str)
        }
        for table in layout.tables
    }
    for name, table in layout.tables.items():
        roles = {way.split("[")[0]: role for way, role in named[name].items()}
        kept = layout.map.get(name, {}).get("keep")
        if name == "log":
            roles |= {
                each.column: "events, in their order" if each.last else "left out: no times"
                for each in layout.untimed
            }
        for column, known in table.columns.items():
            is_kept = name != "events" and (kept is None or column in kept)
            further = "further" if is_kept else "left out"
            if not layout.map:
                further = ""
            lines.append(f"| {name} | `{column}` | {roles.get(column, further)} | {known} |")
    return [*lines, ""]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
