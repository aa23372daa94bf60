"""HTTP as the standards have it: messages of HTTP/1.1, heads of HTTP/2, fields, conditions, CGI variables."""
