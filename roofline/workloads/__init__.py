"""What a model computes and moves: ops, templates, workloads, scenarios."""
