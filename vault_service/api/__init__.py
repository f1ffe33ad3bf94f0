"""The HTTP interface. A route is an ASGI endpoint over one use case. Map:

- ``app``: the table of routes, the application, what answers where there is no route
- ``application``: the use cases of one process, which the routes stand on
- ``endpoint``: one request from arrival to answer; ``limits``: what is taken from it before
  a handler sees it
- ``wire``: JSON bodies; ``arrow``: Arrow bodies, through the screen of ``arrow_stream``
- ``tokenization``, ``tokens``, ``policy``, ``audit``, ``transparency``, ``subjects``: the
  handlers; ``health``: liveness, readiness, metrics
- ``report_routes``: the routes of reports; ``reports``, ``report_jobs``: their handlers, with
  ``report_bodies``, ``report_messages`` and ``report_answers``
- ``problems``: error documents, and the only table of statuses
- ``openapi``: the OpenAPI document
"""
