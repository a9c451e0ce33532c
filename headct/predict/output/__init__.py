"""What a case leaves on disk: masks, pictures, pages."""
