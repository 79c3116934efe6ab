"""The class dimension shared out over ranks: a few numbers per sample travel, never logits."""
