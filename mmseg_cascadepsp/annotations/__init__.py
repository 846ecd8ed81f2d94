"""Annotation sets in, annotation sets out."""
