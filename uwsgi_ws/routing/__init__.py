"""uWSGI's internal routing: rules that refuse, change, answer or pass on a request before an application is called.

Rules stand in four chains, each in the order of the options that gave them::

    request   --route*            once admission has let the request in
    error     --error-route*      when a response with a status of 400 or more is about to begin
    response  --response-route*   when any response is about to begin
    final     --final-route*      when all is over, before the access line

A rule is a test (`conditions`) and an action (`actions`). Their arguments are text with placeholders for the request's
own values (`templates`). Rules are compiled at start-up (`chain`); one that cannot be understood is an error then.
`request` is what actions see and change, `router` takes it through the chains, and `backend` passes it on to another
server.

Source: uWSGI's docs/InternalRouting.rst and core/routing.c.
"""
