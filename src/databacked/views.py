"""What notebooks show of a table of results: thumbnails beside its values."""

from databacked.pictures.html import table_html

__all__ = ["table_html"]
