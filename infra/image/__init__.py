"""The container image without a Docker engine.

- ``assemble``: run in the recipe's build stage; lays out what the service runs on
- ``recipe``: the Dockerfile, read strictly
- ``builder``: its steps, in plain folders
- ``room``: a program in a folder as its root: namespaces, read-only, unprivileged
"""
