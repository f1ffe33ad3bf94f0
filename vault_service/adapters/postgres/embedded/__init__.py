"""The embedded default: a real PostgreSQL of our own in ``STRONGROOM_HOME``. Map:

- ``server``: :class:`EmbeddedPostgres`, which owns it or attaches to it; the rest is beneath
- ``binaries``: PostgreSQL's own programs; ``account``: whom they run as
- ``process``: starts, finds and stops the postmaster; ``signals``: an orderly end
- ``lock``: one owner at a time; ``state``: the port and the passwords between starts
- ``roles``: roles and databases in it

Production refuses it.
"""
