"""Rules in their order: compiled from settings at start-up, run over a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options import Setting
from uwsgi_ws.routing.actions import BREAK, CONTINUE, NEXT, Action, Site, compile_action
from uwsgi_ws.routing.backend import Forwarder
from uwsgi_ws.routing.conditions import Test, check, matches, status_matches
from uwsgi_ws.routing.request import RoutedRequest

__all__ = ["Chain", "compile_chain"]

#: The variable that a rule's regular expression is matched against, by the end of its option's name.
_SUBJECTS = {
    "": "PATH_INFO",
    "-host": "HTTP_HOST",
    "-uri": "REQUEST_URI",
    "-qs": "QUERY_STRING",
    "-remote-addr": "REMOTE_ADDR",
    "-user-agent": "HTTP_USER_AGENT",
    "-remote-user": "REMOTE_USER",
    "-referer": "HTTP_REFERER",
}


class Rule(NamedTuple):
    """A test, or None for a rule that always applies, and the action for requests that pass it."""

    test: Test | None
    act: Action


class Chain:
    """Rules, run one after the other; an action may skip some."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules

    def run(self, request: RoutedRequest) -> bool:
        """Take a request through the rules; return True when one has answered it.

        Raises:
            RequestError: A rule cannot do what it should for this request.
        """
        rules = self._rules
        position = 0
        while position < len(rules):
            test, act = rules[position]
            request.groups = ()
            position += 1
            if test is None or test(request):
                verdict = act(request)
                if verdict == BREAK:
                    return True
                if verdict == CONTINUE:
                    return False
                if verdict != NEXT:
                    position = verdict
        return False


def compile_chain(
    option: str, settings: Sequence[Setting], forwarder: Forwarder, errors: list[OptionError]
) -> Chain | None:
    """Return the chain of one option and its relatives (``route``, ``route-host`` ...); None without rules.

    Args:
        option: ``route``, ``error-route``, ``response-route`` or ``final-route``.
        settings: Of that option and its relatives, in their order.
        forwarder: For actions that pass requests on.
        errors: Gets one for each rule that cannot be understood; it names the setting and the word.
    """
    label = f"{option}-label"
    labels = {setting.value or "": position for position, setting in enumerate(settings) if setting.name == label}
    rules: list[Rule] = []
    for position, setting in enumerate(settings):
        kind = setting.name.removeprefix(option)
        try:
            rules.append(_rule(kind, setting.value or "", Site(position, labels, forwarder)))
        except ValueError as exc:
            errors.append(setting.error(str(exc)))
    return Chain(rules) if rules else None


def _rule(kind: str, text: str, site: Site) -> Rule:
    if kind == "-label":
        return Rule(None, lambda request: NEXT)  # so that positions are those of uWSGI's numbers
    if kind == "-run":
        return Rule(None, compile_action(text, site))
    condition, space, action = text.partition(" ")
    if not space:
        raise ValueError(f"{text!r} lacks the blank between its condition and its action")
    act = compile_action(action.strip(), site)
    if kind == "-if":
        return Rule(check(condition), act)
    if kind == "-if-not":
        test = check(condition)
        return Rule(lambda request: not test(request), act)
    if kind == "-status":
        return Rule(status_matches(condition), act)
    return Rule(matches(_SUBJECTS[kind], condition), act)
