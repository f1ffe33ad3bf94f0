"""The reports, one module each: ``DEFINITION`` says what it reads, and ``make`` makes it."""
