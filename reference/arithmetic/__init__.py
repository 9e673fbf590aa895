"""Numbers: formats, profiles, balls, rounded balls, arrays, symbols and text."""
