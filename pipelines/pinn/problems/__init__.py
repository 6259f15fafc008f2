"""Problems whose solutions are known, a file each."""
