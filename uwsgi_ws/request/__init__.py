"""What a request is, and what may answer it before an application does: steps, and where it leads to."""
