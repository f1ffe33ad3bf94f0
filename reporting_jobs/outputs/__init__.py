"""Outputs as pieces of a file, made as they are asked for.

Each writer is a generator of bytes over checked rows, so that the memory that a run needs
does not grow with its rows, and nothing is written anywhere before it is sealed.

- ``checking``: holds rows against the definition
- ``csv_rows``, ``json_rows``, ``parquet_rows``: one writer each; ``pdf`` with
  ``pdf_charts``, ``pdf_text``: what people read
- ``writing``: chooses among them
"""
