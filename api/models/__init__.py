"""Shapes of answers and bodies, with examples; a module a resource."""
