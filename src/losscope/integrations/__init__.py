"""One line in the training libraries; each module needs its library and is imported by name."""
