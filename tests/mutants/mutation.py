"""All one-place changes of a module that could be a mistake, found in its syntax tree.

Each change replaces one piece of the source, so that its diff shows one place.
"""

import ast
import copy
import difflib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
REMOVABLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Delete, ast.Raise)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of one module: bytes `start` to `end` become `new`."""

    path: str  # relative to the tree
    line: int
    kind: str
    start: int
    end: int
    new: bytes

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.new + source[self.end :]

    def diff(self, source: bytes) -> str:
        before, after = (
            each.decode().splitlines(keepends=True) for each in (source, self.apply(source))
        )
        return "".join(difflib.unified_diff(before, after, self.path, self.path, n=2))


def mutations(path: str, source: bytes) -> list[Mutation]:
    """Return all changes of a module, in the order of its source; a few change nothing."""
    tree = ast.parse(source)
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    found = set()
    for node in candidates(tree):
        for kind, place, new in changes(node):
            if kind == "removed statement" and node in tree.body:
                continue  # the module could not be imported
            start = offsets[place.lineno - 1] + place.col_offset
            end = offsets[place.end_lineno - 1] + place.end_col_offset
            found.add(Mutation(path, place.lineno, kind, start, end, written(new)))
    return sorted(found, key=lambda each: (each.start, each.end, each.kind, each.new))


def sample(sources: Mapping[str, bytes], *, count: int, seed: int) -> list[Mutation]:
    """Choose so many changes at random, from all modules together.

    Args:
        sources: The modules' sources by path.
        count: How many; fewer if there are no more.
        seed: The same seed chooses the same changes of the same sources.
    """
    found = [each for path in sorted(sources) for each in mutations(path, sources[path])]
    random.Random(seed).shuffle(found)
    real = (each for each in found if is_change(each, sources[each.path]))
    return list(islice(real, count))


def is_change(mutation: Mutation, source: bytes) -> bool:
    """Tell whether the changed source is a module, and not the same one."""
    try:
        return ast.dump(ast.parse(mutation.apply(source))) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


def candidates(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk the statements and expressions that run, in no order.

    Left out: docstrings, annotations and type aliases; what is said in an error, a log or an
    f-string; and what is for type checkers alone.
    """
    for field, value in ast.iter_fields(tree):
        if field in {"annotation", "returns", "type_comment", "decorator_list", "bases"}:
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST) and not is_idle(node):
                if hasattr(node, "lineno"):
                    yield node
                if not isinstance(node, ast.Raise):  # what it says is no behaviour
                    yield from candidates(node)


def is_idle(node: ast.AST) -> bool:
    """Tell whether no test can see a change of this node, or none should have to."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or is_log(node.value)
    if isinstance(node, ast.Assign):
        targets = {each.id for each in node.targets if isinstance(each, ast.Name)}
        return "__slots__" in targets or "__all__" in targets or is_alias(node.value)
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in {"TypeVar", "cast"}
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Global))


def is_alias(node: ast.AST) -> bool:
    """Tell whether this is a type: `Callable[[int], str] | None`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return is_alias(node.left) and is_alias(node.right)
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.value).rpartition(".")[2][:1].isupper()
    return isinstance(node, ast.Name) or ast.unparse(node) == "None"


def is_log(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and "_logger." in ast.unparse(node.func)


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST, ast.AST | str]]:
    """Yield the kind of a mistake, the node in whose place it stands, and what stands there."""
    for kind, change in CHANGES:
        for new in change(node):
            yield kind, node, new
    if isinstance(node, (ast.If, ast.IfExp)):
        yield "forced condition", node.test, "True"
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):  # a loop without end tells nothing
        yield "forced condition", node.test, "False"


def comparisons(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                new = copy.deepcopy(node)
                new.ops[place] = other()
                yield new


def booleans(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for place in range(len(node.values)):
            rest = node.values[:place] + node.values[place + 1 :]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def nots(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand


def constants(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Constant) or node.value is None or node.value is ...:
        return
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1)
        yield ast.Constant(value * 2 if value else -1)
    elif value:
        yield ast.Constant(value[:0])
    else:
        yield ast.Constant("x" if isinstance(value, str) else b"x")


def arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in ARITHMETIC:
        new = copy.deepcopy(node)
        new.op = ARITHMETIC[type(node.op)]()
        yield new
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand


def returns(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Return) and ast.unparse(node) not in {"return", "return None"}:
        yield ast.Return(ast.Constant(None))


def removals(node: ast.AST) -> Iterator[str]:
    """Remove a statement; not what first names a value, for that is a `NameError` at once."""
    names = isinstance(node, ast.Assign) and all(isinstance(e, ast.Name) for e in node.targets)
    if isinstance(node, REMOVABLE) and not names:
        yield "pass"


def jumps(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Break):
        yield "continue"
    elif isinstance(node, ast.Continue):
        yield "break"


def arguments(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Call):
        return
    if isinstance(node.func, ast.Name) and node.func.id in OPPOSITES:
        yield ast.Call(ast.Name(OPPOSITES[node.func.id]), node.args, node.keywords)
    elif len(node.args) >= 2 and not any(isinstance(each, ast.Starred) for each in node.args[:2]):
        first, second, *rest = node.args
        yield ast.Call(node.func, [second, first, *rest], node.keywords)


CHANGES = (
    ("comparison", comparisons),
    ("boolean operator", booleans),
    ("not", nots),
    ("constant", constants),
    ("arithmetic", arithmetic),
    ("returned value", returns),
    ("removed statement", removals),
    ("jump", jumps),
    ("arguments", arguments),
)


def written(new: ast.AST | str) -> bytes:
    """Return the source of what is new; an expression in brackets, to stay one."""
    if isinstance(new, str):
        return new.encode()
    text = ast.unparse(ast.fix_missing_locations(new))
    simple = (ast.stmt, ast.Constant, ast.Name, ast.Call, ast.Attribute)
    return (text if isinstance(new, simple) else f"({text})").encode()
