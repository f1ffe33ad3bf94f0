"""Benchmarks: what the vault costs beside PostgreSQL alone, as ratios of one run.

- ``run``      the command behind ``make bench``: runs all, prints and writes the figures
- ``floor``    PostgreSQL through psycopg alone: the same rows, no vault
- ``figures``  what was measured; ``report`` makes the document of it
- ``growth``   a large table beside a small one
- ``load``     a small HTTP load generator
- ``service``  the real service on a database of its own
- ``values``   synthetic card numbers
- ``sanctions_screening``  recall, precision and speed of that report; run by itself
"""
