"""JMESPath expressions of a mapping: checked before anything runs, and evaluated with one kind of error."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError, LexerError, ParseError
from jmespath.functions import Functions

# A letter names the expression that failed in a header, and headers have little room.
MAX_EXPRESSION_CHARACTERS: Final = 2000

# Nodes whose first child alone looks at the document; the others look at what it yields.
_LEADING: Final = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "flatten", "pipe"}
)
# jmespath lets some errors of Python through: `contains('text', 1)`, a slice with step 0, a number that is no number.
_EVALUATION_ERRORS: Final = (JMESPathError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError)


class ExpressionError(ValueError):
    """An expression that cannot be used, or that failed on a document; the text quotes no document."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression."""

    text: str
    _parsed: Any

    def search(self, document: Mapping[str, Any]) -> Any:
        """What it yields, None for nothing; raises ExpressionError if a function meets a value of a wrong type."""
        try:
            return self._parsed.search(document)
        except _EVALUATION_ERRORS as error:
            raise ExpressionError(_describe_failure(error)) from None


def compile_expression(text: str, known: Collection[str]) -> Expression:
    """Raises ExpressionError, with the column, for text that is no JMESPath or begins with a name that is not `known`.

    Functions are checked as well: jmespath itself would notice an unknown one at the first record only.
    """
    if len(text) > MAX_EXPRESSION_CHARACTERS:
        raise ExpressionError(f"has {len(text)} characters, {MAX_EXPRESSION_CHARACTERS} are allowed")
    try:
        parsed = jmespath.compile(text)
        functions = [node for node in _nodes(parsed.parsed) if node["type"] == "function_expression"]
        roots = list(_roots(parsed.parsed))
    except (ParseError, LexerError) as error:
        raise ExpressionError(f"is no JMESPath, look at column {error.lex_position + 1}") from None
    except JMESPathError:
        raise ExpressionError("is empty; leave the key out instead") from None
    except RecursionError:
        raise ExpressionError("is nested too deep") from None
    for function in functions:
        _check_function(function)
    for name in roots:
        if name not in known:
            column = max(text.find(name), 0) + 1
            raise ExpressionError(
                f"begins with {name} at column {column}, which is not there: it can begin with "
                f"{', '.join(known)}; did you mean value.{name}?"
            )
    return Expression(text, parsed)


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in _children(node):
        yield from _nodes(child)


def _children(node: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [child for child in node["children"] if isinstance(child, dict)]


def _roots(node: Mapping[str, Any]) -> Iterator[str]:
    """The names that are looked up in the document itself."""
    if node["type"] == "field":
        yield node["value"]
    elif node["type"] in _LEADING:
        yield from _roots(node["children"][0])
    elif node["type"] != "expref":
        for child in _children(node):
            yield from _roots(child)


def _check_function(node: Mapping[str, Any]) -> None:
    name, given = node["value"], len(node["children"])
    function = Functions.FUNCTION_TABLE.get(name)
    if function is None:
        raise ExpressionError(f"calls {name}(), which JMESPath does not have")
    signature = function["signature"]
    wanted = len(signature)
    is_variadic = bool(signature) and signature[-1].get("variadic", False)
    if given < wanted or (given > wanted and not is_variadic):
        raise ExpressionError(f"calls {name}() with {given} arguments, it takes {wanted}")


def _describe_failure(error: Exception) -> str:
    name = getattr(error, "function_name", None)
    if name is None:
        return f"cannot be evaluated here ({type(error).__name__})"
    expected = " or ".join(getattr(error, "expected_types", ()))
    return f"calls {name}() on a value of type {getattr(error, 'actual_type', 'unknown')}; it takes {expected}"
