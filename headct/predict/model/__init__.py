"""A bundle as a function, and several of them as one."""
