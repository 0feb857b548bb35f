"""Training of the models that pocketuni ships. Run its modules as `python -m distill.NAME` with `tools` on the path."""
