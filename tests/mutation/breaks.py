"""One-line breaks of a source file, found in its syntax tree. Pure.

A break is a piece of text in the place of another: all else keeps its line, so what a test says of
it can be found. None changes only words: strings, docstrings and annotations stay.
"""

import ast
from collections.abc import Iterator
from typing import NamedTuple

_TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
_OTHER_NAME = {"max": "min", "min": "max", "any": "all", "all": "any"}


class Break(NamedTuple):
    """Put `new` in the place of what stands from `start` to `end`, in bytes of the file."""

    line: int
    start: int
    end: int
    new: str
    kind: str

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]


def breaks_of(source: bytes) -> list[Break]:
    """All there are, each once, in the order of the file."""
    found = {(b.start, b.end, b.new): b for b in _Finder(source).breaks()}
    return sorted(found.values())


class _Finder:
    def __init__(self, source: bytes) -> None:
        self.tree = ast.parse(source)
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def breaks(self) -> Iterator[Break]:
        skipped = set(self._words())
        for node in ast.walk(self.tree):
            if id(node) not in skipped:
                yield from self._of(node)

    def _words(self) -> Iterator[int]:
        """What says something to people or to the type checker, with all below it."""
        for node in ast.walk(self.tree):
            parts: list[ast.AST | None] = []
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                parts = [node.returns, *node.decorator_list]
                parts += [argument.annotation for argument in ast.walk(node.args)
                          if isinstance(argument, ast.arg)]  # fmt: skip
            elif isinstance(node, ast.ClassDef):
                parts = [*node.decorator_list]
            elif isinstance(node, ast.AnnAssign):
                parts = [node.annotation]
            elif isinstance(node, ast.Assert | ast.JoinedStr):
                parts = [node]
            for part in parts:
                if part is not None:
                    yield from (id(inner) for inner in ast.walk(part))

    def _of(self, node: ast.AST) -> Iterator[Break]:
        match node:
            case ast.Compare(ops=[op]) if type(op) in _TURNED:
                turned = ast.Compare(node.left, [_TURNED[type(op)]()], node.comparators)  # type: ignore[list-item]
                yield self._put(node, turned, "comparison")
            case ast.BinOp() if type(node.op) in _TURNED and not _is_text(node):
                yield self._put(
                    node, ast.BinOp(node.left, _TURNED[type(node.op)](), node.right), "arithmetic"
                )  # type: ignore[arg-type]
            case ast.BoolOp():
                yield self._put(node, ast.BoolOp(_TURNED[type(node.op)](), node.values), "and, or")  # type: ignore[arg-type]
                for at in range(len(node.values)):
                    rest = node.values[:at] + node.values[at + 1 :]
                    left = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
                    yield self._put(node, left, "condition left out")
            case ast.UnaryOp(op=ast.Not()):
                yield self._put(node, node.operand, "not")
            case ast.Constant(value=bool()):
                yield self._put(node, ast.Constant(not node.value), "flag")
            case ast.Constant(value=int()):
                assert isinstance(node.value, int)
                yield self._put(node, ast.Constant(node.value + 1), "number")
            case ast.Name(id=name, ctx=ast.Load()) if name in _OTHER_NAME:
                yield self._put(node, ast.Name(_OTHER_NAME[name]), "max, min")
            case ast.If() | ast.While():
                for value in (True, False):
                    if not (isinstance(node, ast.While) and value):
                        yield self._put(node.test, ast.Constant(value), "branch")
            case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete():
                yield self._put(node, ast.Pass(), "statement left out")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield self._put(node, ast.Pass(), "assignment left out")
            case ast.Continue() | ast.Break():
                yield self._put(node, ast.Pass(), "jump left out")

    def _put(self, old: ast.AST, new: ast.AST, kind: str) -> Break:
        start = self._starts[old.lineno - 1] + old.col_offset  # type: ignore[attr-defined]
        end = self._starts[old.end_lineno - 1] + old.end_col_offset  # type: ignore[attr-defined]
        text = ast.unparse(ast.fix_missing_locations(new))
        if isinstance(new, ast.expr) and not isinstance(new, ast.Constant | ast.Name):
            text = f"({text})"
        return Break(old.lineno, start, end, text, kind)  # type: ignore[attr-defined]


def _is_text(node: ast.BinOp) -> bool:
    """A sum of strings: to break it breaks words."""
    sides = (node.left, node.right)
    return any(
        isinstance(side, ast.JoinedStr)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in sides
    )
