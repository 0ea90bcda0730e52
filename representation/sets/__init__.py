"""What is measured on: the searches and products of a shop or of a published benchmark, and who gives their vectors."""
