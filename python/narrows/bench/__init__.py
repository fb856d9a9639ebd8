"""The five workloads that show what narrows does: ``python -m narrows.bench``."""
