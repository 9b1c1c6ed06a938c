"""What a CloudFormation template makes with given parameters: its functions and conditions worked out."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ACCOUNT = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "chef-failover",
}
_NOTHING = object()
"""AWS::NoValue: the property, or the item of a list, is left out."""


class _Loader(yaml.SafeLoader):
    """Reads ``!Sub x`` as ``{"Fn::Sub": x}``."""


def _tagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, object]:
    value: object = loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else None
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    if suffix == "GetAtt":
        value = str(value).split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tagged)


def read(path: Path) -> dict:
    """The template with its functions in their long form."""
    return dict(yaml.load(path.read_text(), Loader=_Loader))


def unrolled(template: dict, parameters: dict) -> dict:
    """Without its loops, as AWS::LanguageExtensions leaves it."""
    plain = copy.deepcopy(template)
    for name in [name for name in plain["Resources"] if name.startswith("Fn::ForEach::")]:
        variable, collection, body = plain["Resources"].pop(name)
        values = _given(plain, parameters)[collection["Ref"]]
        for value in values:
            said = json.dumps(body).replace(f"&{{{variable}}}", re.sub(r"[^a-zA-Z0-9]", "", value))
            plain["Resources"].update(json.loads(said.replace(f"${{{variable}}}", value)))
    del plain["Transform"]
    return plain


def made(template: dict, parameters: dict) -> dict[str, dict]:
    """The resources that are made, by their logical id: type and properties. Another one, or its ARN, is its id."""
    stack = _Stack(unrolled(template, parameters), parameters)
    for rule in template["Rules"].values():
        if stack.resolve(rule["RuleCondition"]):
            for one in rule["Assertions"]:
                assert stack.resolve(one["Assert"]), one["AssertDescription"]
    return {
        name: {"Type": one["Type"], "Properties": stack.resolve(one["Properties"])}
        for name, one in stack.resources.items()
        if "Condition" not in one or stack.resolve({"Condition": one["Condition"]})
    }


class _Stack:
    """A template without loops, and what it was given."""

    def __init__(self, template: dict, parameters: dict) -> None:
        self.resources, self.conditions = template["Resources"], template["Conditions"]
        self.values = ACCOUNT | _given(template, parameters) | {"AWS::NoValue": _NOTHING}

    def resolve(self, value: Any) -> Any:
        """What ``value`` comes to; a resource is its logical id."""
        if isinstance(value, dict):
            name, argument = next(iter(value.items()), ("", None))
            if len(value) == 1 and name in FUNCTIONS:
                return FUNCTIONS[name](self, argument)
            assert not name.startswith("Fn::"), value
            return {key: done for key, one in value.items() if (done := self.resolve(one)) is not _NOTHING}
        if isinstance(value, list):
            return [done for one in value if (done := self.resolve(one)) is not _NOTHING]
        return value

    def attribute(self, name: str, attribute: str) -> Any:
        """An ARN is the resource's id; that of a log group has an asterisk at its end."""
        resource = self.resources[name]
        if attribute == "Arn" and resource["Type"] == "AWS::Logs::LogGroup":
            return f"{name}:*"
        return self.resolve(resource["Properties"].get(attribute, name))


FUNCTIONS: dict[str, Callable[[_Stack, Any], object]] = {
    "Ref": lambda stack, name: stack.values.get(name, name),
    "Condition": lambda stack, name: stack.resolve(stack.conditions[name]),
    "Fn::GetAtt": lambda stack, path: stack.attribute(*path),
    "Fn::If": lambda stack, said: stack.resolve(said[1 if stack.resolve({"Condition": said[0]}) else 2]),
    "Fn::Not": lambda stack, said: not stack.resolve(said[0]),
    "Fn::And": lambda stack, said: all(map(stack.resolve, said)),
    "Fn::Equals": lambda stack, said: stack.resolve(said[0]) == stack.resolve(said[1]),
    "Fn::EachMemberEquals": lambda stack, said: all(one == said[1] for one in stack.resolve(said[0])),
    "Fn::Sub": lambda stack, text: re.sub(r"\$\{([\w:]+)\}", lambda found: str(stack.values[found[1]]), text),
    "Fn::Join": lambda stack, said: said[0].join(stack.resolve(said[1])),
    "Fn::Split": lambda stack, said: stack.resolve(said[1]).split(said[0]),
    "Fn::Select": lambda stack, said: stack.resolve(said[1])[said[0]],
}


def _given(template: dict, parameters: dict) -> dict:
    assert set(parameters) <= set(template["Parameters"])
    said = {}
    for name, one in template["Parameters"].items():
        text = str(parameters.get(name, one["Default"]))
        items = text.split(",") if one["Type"] == "CommaDelimitedList" else [text]
        for item in items:
            assert re.fullmatch(one.get("AllowedPattern", ".*"), item), f"{name}: {one['ConstraintDescription']}"
            assert item in map(str, one.get("AllowedValues", [item]))
        said[name] = items if one["Type"] == "CommaDelimitedList" else int(text) if one["Type"] == "Number" else text
    return said
