"""The Library: documents that members hand in and librarians approve."""
