"""PEP 3333: loads applications, makes their environ, calls them, and sends what they answer."""
