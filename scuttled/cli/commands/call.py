"""`scuttled call`: any operation of a model's own type."""

import click

from scuttled.cli import output
from scuttled.cli.dashed_arguments import LooseVerb
from scuttled.cli.formatting import dump_json, json_safe, parse_json
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.cli.wait_option import Level, held_fields, wait_fields, wait_option


@verb(
    "call",
    cls=LooseVerb,
    examples="""
        scuttled call size
        scuttled call -m default has greeting
        scuttled model info default        # ends in the operations that can be called
    """,
)
@click.argument("operation", metavar="OP")
@click.argument("args", nargs=-1, metavar="[ARG...]")
@wait_option
def command(settings: Settings, operation: str, args: tuple[str, ...], wait: Level) -> None:
    """Call operation OP of the model (-m) with its arguments.

    An ARG that is JSON is that value, any other is text; '"5"' is the text 5.
    """
    values = [_value(arg) for arg in args]
    with settings.connect() as client:
        done = client.request(
            "call",
            model=settings.model,
            operation=operation,
            args=values,
            **wait_fields(settings, wait),
        )
    result = done.get("result")
    if settings.json:
        called = {"model": settings.model, "operation": operation, "result": result}
        output.emit({**called, **held_fields(done)})
    elif isinstance(result, list):
        for item in result:
            output.write(_line(item))
    elif result is not None:
        output.write(_line(result))


def _value(arg: str) -> object:
    parsed = parse_json(arg)
    return parsed[0] if parsed else arg


def _line(item: object) -> str:
    if isinstance(item, str):
        return output.plain_line([item])
    return json_safe(dump_json(item)) + "\n"
