"""What `python -m seq2seq.check_device` looks at: one module for each of its parts, which give rows of one table."""
