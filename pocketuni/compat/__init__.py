"""Modules with the verbs of other packages, so that scripts written for those change one import."""
