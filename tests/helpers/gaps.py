"""The lint of a notebook's gaps: what a solution leaves open is used by its check and nothing else.

So the student edition runs from top to bottom, whatever is filled in.
"""

import ast
import re

from llmlab.classroom.student_edition import find_gaps

DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def gap_offences(codes: list[str]) -> list[str]:
    """What the code of a notebook's cells, in order, does against it; cells are counted from 0."""
    found, still_open = [], set()
    for number, code in enumerate(codes):
        # lines for IPython (%pip, !ls) count as `pass`
        tree = ast.parse(re.sub(r"^([ \t]*)[%!].*$", r"\1pass", code, flags=re.M))
        own = open_names(code, tree)
        used = still_open & (names(tree.body, ast.Load) - names(tree.body, ast.Store))
        if own:
            if not (tree.body and ast.unparse(tree.body[-1]).startswith("check(")):
                found.append(f"cell {number}: a cell with a solution ends with its check(...)")
            runs = [node for node in tree.body[:-1] if not isinstance(node, DEFINITIONS)]
            used |= own & names(runs, ast.Load)
        found += [f"cell {number}: {name} may still be a gap here" for name in sorted(used)]
        still_open = (still_open - names(tree.body, ast.Store)) | own
    return found


def open_names(code: str, tree: ast.Module) -> set[str]:
    """What a cell does not really have before its gaps are filled."""
    found = set()
    for gap in find_gaps(code):
        defined = (node for node in ast.walk(tree) if isinstance(node, DEFINITIONS))
        around = [n.name for n in defined if n.lineno - 1 < gap.first and n.end_lineno > gap.first]
        found |= {around[0]} if around else {line.split(" = ")[0] for line in gap.stub}
    return found


def names(nodes: list[ast.stmt], context: type[ast.expr_context]) -> set[str]:
    """The names that statements load, or store (definitions and imports among them)."""
    found = set()
    for node in (inner for top in nodes for inner in ast.walk(top)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, context):
            found.add(node.id)
        elif context is ast.Store and isinstance(node, DEFINITIONS):
            found.add(node.name)
        elif context is ast.Store and isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
    return found
