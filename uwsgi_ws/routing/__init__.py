"""uWSGI's internal routing: rules that judge, change, answer or pass on a request before any application is asked.

Rules stand in four chains, each in the order of the options that gave them::

    request   --route*            once admission has let the request in
    error     --error-route*      when a response with a status of 400 or more is about to begin
    response  --response-route*   when any response is about to begin
    final     --final-route*      when all is over, before the access line

A rule is a test (`conditions`) and an action (`actions`); what both make of a request is text with placeholders for the
request's own values (`templates`). All of it is compiled at start-up (`chain`), where whatever cannot be understood
is an error. `request` is what actions see and change, `router` takes it through the chains, and `backend` and
`tunnel` pass it on to another server.

Source: uWSGI's docs/InternalRouting.rst and core/routing.c.
"""
