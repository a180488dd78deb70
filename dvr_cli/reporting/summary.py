"""Plain sentences about a comparison: which mesh is best in which measure. No mesh is favoured, and ties are said."""

from collections.abc import Sequence

from dvr_cli.reporting.measured import MeasuredProtocol, MeasuredRow


def summary_sentences(names: Sequence[str], protocols: Sequence[MeasuredProtocol], cost: MeasuredRow) -> list[str]:
    """One sentence per mesh that is best in a key measure, then one about time.

    `cost` is the row of seconds. With a single mesh there is nothing to compare, which is said.
    """
    if len(names) < 2:
        return [f"There is one mesh, {names[0]}, so nothing to compare it with." if names else "There is no mesh."]
    won: dict[tuple[int, ...], list[str]] = {}
    for protocol in protocols:
        for row in protocol.key_rows:
            if row.best:
                won.setdefault(row.best, []).append(_named(row, protocol, protocols))
    ordered = sorted(won.items(), key=lambda item: -len(item[1]))
    sentences = [_sentence([names[index] for index in best], measures) for best, measures in ordered]
    if not sentences:
        sentences = ["No measure was taken of two meshes or more, so none is best."]
    return sentences + _about_time(names, cost)


def _named(row: MeasuredRow, protocol: MeasuredProtocol, protocols: Sequence[MeasuredProtocol]) -> str:
    """The measure with its best value; with the protocol's title where the name alone is not unique."""
    same = sum(any(other.heading == row.heading for other in group.rows) for group in protocols)
    value = row.text(row.best[0]) + (f" {row.unit}" if row.unit else "")
    where = f", {protocol.title}" if same > 1 else ""
    return f"{row.heading} ({value}{where})"


def _sentence(winners: list[str], measures: list[str]) -> str:
    verb = "is best in" if len(winners) == 1 else "are level and best in"
    return f"{_listed(winners)} {verb} {_listed(measures)}."


def _about_time(names: Sequence[str], cost: MeasuredRow) -> list[str]:
    known = [index for index, value in enumerate(cost.values) if value is not None]
    if len(known) < 2:
        return []
    fastest = min(known, key=lambda index: cost.values[index])  # type: ignore[arg-type, return-value]
    unknown = len(names) - len(known)
    remark = f"; of {unknown} the time is not known" if unknown else ""
    level = [names[index] for index in known if cost.text(index) == cost.text(fastest)]
    verb = "took" if len(level) == 1 else "each took"
    return [f"The least time was {cost.text(fastest)} s, which {_listed(level)} {verb}{remark}."]


def _listed(parts: list[str]) -> str:
    """In words: a; a and b; a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
