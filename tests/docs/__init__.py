"""The snippets and the claims of the documentation, a module for each page."""
