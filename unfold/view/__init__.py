"""One page that shows a model at work, in a browser."""
