"""How pictures of users get in: fetched by guarded code, decoded in a child, kept once by content."""
