"""The demo: the price page's scenarios through the real path, beside what the page expects."""
