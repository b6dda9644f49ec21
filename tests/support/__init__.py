"""What tests of several kinds share: casts for a play, real daemons, strangers, doors to fuzz.

pytest finds it by `pythonpath` in pyproject.toml; a script by adding tests/ to `sys.path`.
"""
