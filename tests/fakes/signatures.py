"""The public names of a class and how each is called, from a live class or from a stub, so that two can be compared."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ATTRIBUTE = "attribute"


def _public(name):
    return not name.startswith("_")


def _called(signature, *, bound):
    """Names, kinds and whether there is a default: what a caller has to know."""
    parameters = list(signature.parameters.values())[bound:]
    return [(one.name, one.kind.name, one.default is not inspect.Parameter.empty) for one in parameters]


def of_class(cls):
    """Each public name of a live class: how it is called, or that it is an attribute."""
    found = dict.fromkeys(filter(_public, getattr(cls, "__annotations__", {})), ATTRIBUTE)
    for name in filter(_public, dir(cls)):
        member = inspect.getattr_static(cls, name)
        if isinstance(member, (staticmethod, classmethod)):
            found[name] = _called(inspect.signature(getattr(cls, name)), bound=0)
        elif callable(member):
            found[name] = _called(inspect.signature(member), bound=1)
        else:
            found[name] = ATTRIBUTE
    return found


def of_object(one):
    """With what it was given when it was made."""
    return dict.fromkeys(filter(_public, vars(one)), ATTRIBUTE) | of_class(type(one))


def _of_stub_function(function, *, bound):
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    first_default = len(positional) - len(arguments.defaults)
    found = []
    for number, one in enumerate(positional):
        kind = "POSITIONAL_ONLY" if number < len(arguments.posonlyargs) else "POSITIONAL_OR_KEYWORD"
        found.append((one.arg, kind, number >= first_default))
    if arguments.vararg:
        found.append((arguments.vararg.arg, "VAR_POSITIONAL", False))
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append((one.arg, "KEYWORD_ONLY", default is not None))
    return found[bound:]


def of_stub(path: Path):
    """The same of each class of a stub file."""
    return {
        statement.name: _of_stub_class(statement)
        for statement in ast.parse(path.read_text()).body
        if isinstance(statement, ast.ClassDef)
    }


def _of_stub_class(cls):
    found = {}
    for statement in cls.body:
        if isinstance(statement, ast.AnnAssign):
            found[statement.target.id] = ATTRIBUTE
        elif isinstance(statement, ast.FunctionDef) and _public(statement.name):
            decorators = {ast.unparse(one) for one in statement.decorator_list}
            found[statement.name] = (
                ATTRIBUTE
                if "property" in decorators
                else _of_stub_function(statement, bound="staticmethod" not in decorators)
            )
    return found
