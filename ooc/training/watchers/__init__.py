"""What happens between two steps: logging, evaluating, saving, steering."""
